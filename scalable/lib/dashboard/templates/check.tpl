% rebase('layout.tpl', title=t('check'))
<div class="verdict {{'bad' if errors else 'good'}}">
<h1>{{t('check_wrong', n=errors) if errors else t('check_well')}}</h1>
</div>
<table class="cards">
<thead><tr><th>{{t('check_verdict')}}</th><th>{{t('check_subject')}}</th><th>{{t('check_seen')}}</th><th>{{t('check_remedy')}}</th></tr></thead>
<tbody>
% for line in found.findings:
<tr><td><span class="state {{colours[line.verdict.value]}}">{{line.verdict.value}}</span></td><td>{{line.subject}}</td><td class="error" lang="en" data-label="{{t('check_seen')}}">{{visible(line.seen)}}</td><td class="error" lang="en" data-label="{{t('check_remedy')}}">{{visible(line.remedy)}}</td></tr>
% end
</tbody>
</table>
<section id="copy">
<h2>{{t('check_copy')}}</h2>
<p class="calm">{{t('check_copy_hint')}}</p>
<pre tabindex="0" lang="en">{{visible(found.text)}}</pre>
</section>
