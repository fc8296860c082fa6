% rebase('layout.tpl', title=t('retrying'))
<section class="ask">
<h1>{{t('retrying')}}</h1>
<p role="status">{{t('retried_so_far', n=requeued)}}</p>
% if total:
<progress max="{{total}}" value="{{min(looked_at, total)}}" aria-label="{{t('retrying')}}"></progress>
% end
<form method="post" action="{{page.base}}/" data-continue><input type="hidden" name="csrf" value="{{page.form_token}}"><input type="hidden" name="sure" value="yes">
% for name, value in fields.items():
<input type="hidden" name="{{name}}" value="{{value}}">
% end
<button class="primary" name="action" value="{{action}}">{{t('continue')}}</button>
<a href="{{page.base}}/">{{t('cancel')}}</a>
</form>
</section>
