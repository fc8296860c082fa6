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
% else:
<p class="calm">{{t('nothing_to_do')}}</p>
% end
