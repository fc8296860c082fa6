% verdict = overview.verdict
<div class="verdict {{verdict.state.value}}">
<h1>{{page.state(verdict.state)}}</h1>
% if verdict.reasons or verdict.remarks:
<ul>
% for reason in (*verdict.reasons, *verdict.remarks):
<li class="{{reason.severity.value}}">{{page.reason(reason)}}\\
% if 'job' in reason.values and not page.visitor.is_stranger:
 <a href="{{page.base}}/job/{{reason.values['job']}}">{{t('of_job', id=str(reason.values['job']))}}</a>\\
% end
</li>
% end
</ul>
% elif overview.counts['failed'].number:
%   failed = t('some_failed', n=overview.counts['failed'].number)
<p>{{failed}}\\
% if not page.visitor.is_stranger:
 <a href="{{page.link('/jobs', status='failed')}}">{{t('see_failed')}}</a>\\
% end
</p>
% else:
<p class="calm">{{t('nothing_to_do')}}</p>
% end
