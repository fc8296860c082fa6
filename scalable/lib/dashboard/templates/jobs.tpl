% rebase(page.layout, title=t('jobs'), live=live)
<h1>{{t('jobs')}}</h1>
<form class="filter" method="get" action="{{page.base}}/jobs" aria-label="{{t('filter')}}">
<label>{{t('state')}} <select name="status"><option value="">{{t('any')}}</option>
% for name in statuses:
<option value="{{name}}"{{!' selected' if state == name else ''}}>{{t(name)}}</option>
% end
</select></label>
<label>{{t('type')}} <input name="type" value="{{wanted.update_type or ''}}" list="types" autocapitalize="none" size="14"></label>
<datalist id="types">
% for name in types:
<option value="{{name}}">
% end
</datalist>
% if not page.masked:
<label>{{t('lane')}} <input name="lane" value="{{wanted.lane or ''}}" autocapitalize="none" size="16"></label>
% end
<label class="wide">{{t('search')}} <input name="q" value="{{text}}" type="search" aria-describedby="search-hint"></label>
<button class="primary">{{t('apply')}}</button>
<a href="{{page.base}}/jobs">{{t('clear')}}</a>
<small id="search-hint">{{t('search_hint_masked' if page.masked else 'search_hint')}}</small>
</form>
<section id="jobs"{{!' data-live' if live else ''}}>
% if found.exact:
<h2>{{t('exact_matches')}}</h2>
% include('job_list.tpl', jobs=found.exact)
<h2>{{t('other_matches')}}</h2>
% end
<div id="found">
% if found.jobs:
% include('job_list.tpl', jobs=found.jobs)
% elif found.full:
<p class="empty">{{t('no_match')}}</p>
% end
</div>
<p class="pager">
% if not found.full:
<span role="status">{{t('looked_back', id=str(found.next_before))}}</span>
% end
% if before:
<a href="{{page.link('/jobs', **query)}}">{{t('newest')}}</a>
% end
% if found.next_before:
<a class="primary" rel="next"{{!'' if found.full else ' data-look-further'}} href="{{page.link('/jobs', before=found.next_before, **query)}}">{{t('older') if found.full else t('look_further')}}</a>
% end
</p>
</section>
% if page.is_owner and wanted.status in (None, 'failed', 'expired') and wanted.number is None or page.is_owner and wanted.status in ('failed', 'expired'):
%   state = wanted.status or 'failed'
<form class="all" method="post" action="{{page.base}}/"><input type="hidden" name="csrf" value="{{page.form_token}}">
% for name, value in query.items():
<input type="hidden" name="{{name}}" value="{{value}}">
% end
<button name="action" value="retry-matching:{{state}}">{{t('retry_matching_' + state)}}</button></form>
% end
