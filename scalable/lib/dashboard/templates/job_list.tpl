<table class="cards jobs">
<thead><tr><th scope="col">{{t('job')}}</th><th scope="col">{{t('state')}}</th><th scope="col">{{t('update')}}</th><th scope="col">{{t('lane')}}</th><th scope="col">{{t('attempts')}}</th><th scope="col">{{t('arrived')}}</th><th scope="col">{{t('details')}}</th></tr></thead>
<tbody>
% for each in jobs:
% job = page.job(each)
<tr id="job-{{job.id}}">
<td data-plain="job" data-label="{{t('job')}}"><a href="{{page.base}}/job/{{job.id}}">{{job.id}}</a></td>
<td data-plain data-label="{{t('state')}}"><span class="state {{page.state_of(job)}}">{{t(page.state_of(job))}}</span></td>
<td data-plain data-label="{{t('update')}}">{{job.update_type or t('unknown_type')}}\\
% if job.update_id is not None:
 <small>{{job.update_id}}</small>\\
% end
</td>
<td data-plain data-label="{{t('lane')}}">\\
% if each.lane and page.masked:
{{job.lane}}\\
% elif each.lane:
<a href="{{page.link('/jobs', lane=each.lane)}}" class="lane">{{page.lane(each.lane)}}</a>\\
% end
</td>
<td data-label="{{t('attempts')}}">{{job.attempts}}</td>
<td data-plain data-label="{{t('arrived')}}">{{!page.time(job.created_at)}}</td>
<td data-label="{{t('details')}}">\\
% if job.status == 'processing':
<small>{{visible(job.reserved_by or '')}}, {{t('runs_since')}} {{!page.time(job.reserved_at)}}</small> \\
% elif job.status == 'pending' and job.attempts:
<small>{{t('next_attempt')}} {{!page.time(job.available_at)}}</small> \\
% elif job.processed_at:
<small>{{t('ended_at')}} {{!page.time(job.processed_at)}}</small> \\
% end
% if job.error_message:
<span class="error" dir="auto">{{error_in_a_line(job.error_message)}}</span> \\
% end
% if page.is_owner and job.status in ('failed', 'expired'):
<button form="act" class="small" name="action" value="retry:{{job.id}}">{{t('retry')}}<span class="unseen"> {{job.id}}</span></button>\\
% end
</td>
</tr>
% end
</tbody>
</table>
