% job = page.job(detail.summary)
% rebase(page.layout, title=t('job_n', id=str(job.id)), live=job.status in ('pending', 'processing'))
<section id="job" data-live>
<h1>{{t('job_n', id=str(job.id))}} <span class="state {{page.state_of(job)}}">{{t(page.state_of(job))}}</span></h1>
% if page.is_owner:
<p class="actions">
% if job.status in ('failed', 'expired'):
<button form="act" class="primary" name="action" value="retry:{{job.id}}">{{t('retry')}}</button>
% end
% if job.status == 'pending':
%   if waits:
<button form="act" class="primary" name="action" value="run-now:{{job.id}}">{{t('run_now')}}</button>
%   end
<button form="act" name="action" value="skip:{{job.id}}">{{t('skip')}}</button>
% end
% if job.status != 'processing':
<button form="act" class="danger" name="action" value="delete:{{job.id}}">{{t('delete')}}</button>
% end
</p>
% end
<h2>{{t('summary')}}</h2>
<dl class="facts">
<div><dt>{{t('update')}}</dt><dd>{{job.update_type or t('unknown_type')}} {{job.update_id if job.update_id is not None else ''}}</dd></div>
<div><dt>{{t('arrived')}}</dt><dd>{{!page.time(job.created_at, True)}}</dd></div>
<div><dt>{{t('attempts')}}</dt><dd>{{job.attempts}}</dd></div>
% if job.status == 'pending':
<div><dt>{{t('due')}}</dt><dd>{{!page.time(job.available_at)}}</dd></div>
% end
% if detail.expires_at:
<div><dt>{{t('expires')}}</dt><dd>{{!page.time(detail.expires_at, True)}}</dd></div>
% end
</dl>
<h2>{{t('timeline')}}</h2>
<ol class="timeline">
<li><span class="state">{{t('enqueued')}}</span> {{!page.time(job.created_at, True)}}</li>
% if detail.cut:
<li>{{t('cut', n=detail.cut)}}</li>
% end
% for index, entry in enumerate(detail.history):
<li id="past-{{index}}">
%   if entry.by_operator:
<span class="state">{{t('outcome_' + entry.outcome)}}</span> {{!page.time(entry.ended_at, True)}}
%   else:
<strong>{{t('attempt_n', n=entry.attempt)}}</strong> <span class="state {{colour_of[entry.outcome]}}">{{t('outcome_' + entry.outcome)}}</span> {{!page.time(entry.started_at, True)}}\\
%     if entry.seconds is not None:
, {{t('took', seconds=page.seconds(entry.seconds))}}\\
%     end
%     if entry.worker:
 <small>{{t('on_worker', worker=visible(entry.worker))}}</small>\\
%     end
%     if entry.output and page.masked:
<p class="calm">{{kind_of_error(entry.output)}} – {{t('output_hidden')}}</p>
%     elif entry.output:
<details{{!' open' if index == len(detail.history) - 1 else ''}}><summary>{{t('output')}}</summary><pre dir="auto">{{visible(entry.output)}}</pre></details>
%     end
%   end
</li>
% end
% if not detail.history:
<li>{{t('no_attempts')}}</li>
% end
% if job.status == 'pending' and job.attempts:
<li><span class="state pending">{{t('next_attempt')}}</span> {{!page.time(job.available_at)}}</li>
% end
</ol>
% if job.error_message and not page.masked and not (detail.history and detail.history[-1].output):
<pre dir="auto">{{visible(job.error_message)}}</pre>
% end
% if job.lane is None:
<p class="calm">{{t('no_lane')}}</p>
% else:
<h2>{{t('lane_of', lane=page.lane(detail.summary.lane))}}</h2>
%   if detail.blocked_by:
<p class="blocked"><a href="{{page.base}}/job/{{detail.blocked_by.id}}">{{t('waits_for', id=str(detail.blocked_by.id))}}</a></p>
%   elif job.status == 'pending':
<p>{{t('is_first')}}</p>
%   end
%   if len(detail.lane_jobs) > 1:
<details><summary>{{t('lane_list')}}</summary>
%     include('job_list.tpl', jobs=detail.lane_jobs)
</details>
%   end
%   if not page.masked:
<p><a href="{{page.link('/jobs', lane=detail.summary.lane)}}">{{t('show_all')}}</a></p>
%   end
% end
</section>
<section id="payload">
<h2>{{t('payload')}}</h2>
% if page.masked:
<p class="calm">{{t('payload_masked')}}</p>
% end
% if not is_json:
<p class="calm">{{t('payload_not_json')}}</p>
% end
<pre class="payload" dir="auto" tabindex="0">{{payload}}</pre>
% if payload_length > len(payload):
<p class="calm">{{t('payload_cut', shown=shown_characters, all=payload_length)}}</p>
% end
% if page.is_owner and not page.masked:
<p><a href="{{page.base}}/job/{{job.id}}/payload" download>{{t('payload_download')}}</a></p>
% end
</section>
