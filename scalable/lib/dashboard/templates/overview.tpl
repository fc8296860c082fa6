% rebase(page.layout, title=t('unhealthy') if overview.reasons else t('overview'), live=True, charts=True, server=overview.server)
% include('now.tpl')
% if page.part != 'live':
% include('charts.tpl')
% end
% include('webhook.tpl')
% include('workers.tpl')
% include('newest.tpl')
