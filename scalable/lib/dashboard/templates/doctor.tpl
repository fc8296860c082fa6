% rebase('layout.tpl', title=t('doctor'))
<div class="verdict {{'bad' if errors else 'good'}}">
<h1>{{t('doctor_wrong', n=errors) if errors else t('doctor_well')}}</h1>
</div>
<table class="cards">
<thead><tr><th>{{t('doctor_verdict')}}</th><th>{{t('doctor_subject')}}</th><th>{{t('doctor_seen')}}</th><th>{{t('doctor_remedy')}}</th></tr></thead>
<tbody>
% for line in found.findings:
<tr><td><span class="state {{colours[line.verdict.value]}}">{{line.verdict.value}}</span></td><td>{{line.subject}}</td><td class="error" lang="en" data-label="{{t('doctor_seen')}}">{{page.visible(line.seen)}}</td><td class="error" lang="en" data-label="{{t('doctor_remedy')}}">{{page.visible(line.remedy)}}</td></tr>
% end
</tbody>
</table>
<section id="copy">
<h2>{{t('doctor_copy')}}</h2>
<p class="calm">{{t('doctor_copy_hint')}}</p>
<pre tabindex="0" lang="en">{{page.visible(found.text)}}</pre>
</section>
