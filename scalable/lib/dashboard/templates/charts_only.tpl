% rebase('bare.tpl', title=t('charts'))
% include('charts.tpl')
