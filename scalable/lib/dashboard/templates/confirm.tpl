% rebase('layout.tpl', title=question)
<section class="ask">
<h1>{{question}}</h1>
<form method="post" action="{{page.base}}/"><input type="hidden" name="csrf" value="{{page.form_token}}"><input type="hidden" name="sure" value="yes">
% for name, value in fields.items():
<input type="hidden" name="{{name}}" value="{{value}}">
% end
<button class="{{'danger' if destroys else 'primary'}}" name="action" value="{{action}}"{{'' if destroys else ' autofocus'}}>{{t('yes_do_it')}}</button>
<a href="{{page.base}}{{page.here}}"{{' autofocus' if destroys else ''}}>{{t('cancel')}}</a>
</form>
</section>
