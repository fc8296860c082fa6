% webhook = overview.webhook
<section id="webhook" data-live>
<h2>{{t('webhook')}}</h2>
% if not page.has_bot_token:
<p class="empty">{{t('webhook_no_token')}}</p>
% elif webhook is None or (webhook.seen is None and not webhook.trouble):
<p class="empty">{{t('webhook_not_asked')}}</p>
% else:
% if webhook.seen is not None:
<dl class="facts">
<div><dt>{{t('webhook_url')}}</dt><dd>{{page.webhook_url(webhook.url) or t('webhook_none')}}</dd></div>
<div><dt>{{t('webhook_pending')}}</dt><dd>{{page.n(webhook.pending)}}</dd></div>
<div><dt>{{t('webhook_error')}}</dt><dd>\\
% if webhook.error_time is None:
–\\
% else:
<span dir="auto">{{visible(webhook.last_error)}}</span> {{!page.time(webhook.error_time)}}\\
% end
</dd></div>
<div><dt>{{t('webhook_seen')}}</dt><dd>{{!page.time(webhook.seen)}}</dd></div>
</dl>
% end
% if webhook.trouble:
<p class="refusal">{{t('webhook_trouble')}} {{visible(webhook.trouble)}}</p>
% end
% end
% if page.is_owner and page.has_bot_token:
<p class="actions">
<button form="act" name="action" value="webhook-check">{{t('webhook_check')}}</button>
<button form="act" name="action" value="webhook-set">{{t('webhook_set')}}</button>
% if webhook is not None and webhook.before and webhook.before != webhook.url:
<button form="act" name="action" value="webhook-back">{{t('webhook_back')}}</button>
% end
</p>
% end
</section>
