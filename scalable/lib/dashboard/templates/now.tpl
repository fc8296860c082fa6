% counts, vitals, hour = overview.counts, overview.vitals, overview.vitals.last_hour
% waiting = vitals.waiting
<section id="now" data-live>
% include('verdict.tpl')
% if overview.paused:
<p class="pause">{{t('paused_since')}} {{!page.time(overview.paused.at)}}\\
% if overview.paused.text:
 {{t('paused_by', by=overview.paused.text)}}\\
% end
</p>
% end
% if page.is_owner:
%   if overview.paused:
<button form="act" class="primary" name="action" value="resume">{{t('resume')}}</button>
%   else:
<button form="act" class="quiet" name="action" value="pause">{{t('pause')}}</button>
%   end
% end
</div>
<div class="headline">
<span class="label">{{t('oldest_waiting')}}</span>
% if waiting.seconds is None and waiting.blocked_seconds is not None:
<strong>{{page.seconds(waiting.blocked_seconds)}}</strong> <a href="{{page.base}}/job/{{waiting.blocked_job_id}}">{{t('of_job', id=str(waiting.blocked_job_id))}}</a>
<span class="sub">{{t('blocked_alone')}}</span>
% elif waiting.seconds is None:
<strong class="calm">{{t('nothing_waits')}}</strong>
% else:
<strong>{{page.seconds(waiting.seconds)}}</strong> <a href="{{page.base}}/job/{{waiting.job_id}}">{{t('of_job', id=str(waiting.job_id))}}</a>
% end
% if waiting.seconds is not None and waiting.blocked_seconds is not None:
<a class="sub" href="{{page.base}}/job/{{waiting.blocked_job_id}}">{{t('blocked', seconds=page.seconds(waiting.blocked_seconds))}}</a>
% end
</div>
<dl class="counts" aria-label="{{t('counts')}}">
% for name, count in counts.items():
<div class="{{name}}"><dt>{{t(name)}}</dt><dd><a href="{{page.link('/jobs', status=name if name != 'total' else '')}}">{{!page.count(count)}}</a></dd></div>
% end
</dl>
% if page.is_owner and counts['failed'].number:
<p class="all"><button form="act" name="action" value="retry-matching:failed">{{t('retry_all_failed')}}</button></p>
% end
<dl class="figures" aria-label="{{t('figures')}}">
<div><dt>{{t('per_minute')}}</dt><dd>{{t('came')}} {{'–' if overview.rates.came is None else page.n(overview.rates.came, 1)}}, {{t('ended')}} {{'–' if overview.rates.ended is None else page.n(overview.rates.ended, 1)}}</dd></div>
% for key, times in (('wait', hour.waits if hour else ()), ('run', hour.runs if hour else ())):
<div><dt>{{t(key)}} <small>({{t('last_hour')}})</small></dt><dd>{{t('median')}} {{page.seconds(percentile(times, .5))}}, {{t('p95')}} {{page.seconds(percentile(times, .95))}}</dd></div>
% end
<div><dt>{{t('warned')}} <small>({{t('last_hour')}})</small></dt><dd><a href="{{page.link('/jobs', status='warned')}}">{{page.n(hour.warned if hour else 0)}}</a></dd></div>
<div><dt>{{t('workers_alive')}}</dt><dd>{{page.n(len(vitals.workers))}}</dd></div>
</dl>
</section>
