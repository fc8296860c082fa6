<section id="jobs" data-live>
<h2>{{t('newest_jobs')}}</h2>
% if not overview.jobs:
<p class="empty">{{t('no_job_yet')}}</p>
% else:
% include('job_list.tpl', jobs=overview.jobs)
<p><a href="{{page.base}}/jobs">{{t('all_jobs')}}</a></p>
% end
</section>
