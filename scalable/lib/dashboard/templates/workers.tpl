<section id="workers" data-live>
<h2>{{t('workers')}}</h2>
% if not overview.vitals.workers:
<p class="empty">{{t('no_workers')}}</p>
% else:
<table class="cards">
<thead><tr><th scope="col">{{t('worker')}}</th><th scope="col">{{t('host')}}</th><th scope="col">{{t('pid')}}</th><th scope="col">{{t('now_runs')}}</th><th scope="col">{{t('since')}}</th><th scope="col">{{t('runs')}}</th><th scope="col">{{t('failures')}}</th><th scope="col">{{t('memory')}}</th></tr></thead>
<tbody>
% for worker in overview.vitals.workers:
<tr id="worker-{{worker.name}}">
<td data-label="{{t('worker')}}">{{visible(worker.name)}}</td>
<td data-label="{{t('host')}}">{{visible(worker.host)}}</td>
<td data-label="{{t('pid')}}">{{worker.pid}}</td>
<td data-label="{{t('now_runs')}}">\\
% if not worker.job_ids:
<span class="calm">{{t('idle')}}</span>\\
% end
% for job_id in worker.job_ids:
<a href="{{page.base}}/job/{{job_id}}">{{job_id}}</a>
% end
</td>
<td data-label="{{t('since')}}">{{!page.time(worker.started_at)}}</td>
<td data-label="{{t('runs')}}">{{page.n(worker.runs)}}</td>
<td data-label="{{t('failures')}}">{{page.n(worker.failed)}}</td>
<td data-label="{{t('memory')}}">{{page.memory(worker.memory_kb)}}</td>
</tr>
% end
</tbody>
</table>
% end
</section>
