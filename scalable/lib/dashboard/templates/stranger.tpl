% rebase(page.layout, title=t('overview'), live=True)
% counts = overview.counts
<section id="now" data-live>
% include('verdict.tpl')
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
