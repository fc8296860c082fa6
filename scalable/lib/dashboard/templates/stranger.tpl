% rebase(page.layout, title=t('overview'), live=True)
% counts, reasons = overview.counts, overview.reasons
<section id="now" data-live>
<div class="verdict {{'bad' if reasons else 'good'}}">
<h1>{{t('unhealthy') if reasons else t('healthy')}}</h1>
% if reasons:
<ul>
% for reason in reasons:
<li>{{page.reason(reason)}}</li>
% end
</ul>
% end
</div>
<dl class="counts" aria-label="{{t('counts')}}">
% for name, count in counts.items():
<div class="{{name}}"><dt>{{t(name)}}</dt><dd>{{!page.count(count)}}</dd></div>
% end
</dl>
</section>
<p class="notice">{{t('counts_only')}} {{t('set_token')}}</p>
% if asks:
% include('login.tpl')
% end
