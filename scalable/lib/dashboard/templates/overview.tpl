% rebase(page.layout, title=page.state(overview.verdict.state), live=True, charts=True, server=overview.server)
% include('now.tpl')
% if page.part != 'live':
% include('charts.tpl')
% end
% include('webhook.tpl')
% include('workers.tpl')
% include('newest.tpl')
