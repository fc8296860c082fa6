% rebase('layout.tpl', title=question)
<section class="ask">
<h1>{{question}}</h1>
<form method="post" action="{{page.base}}/"><input type="hidden" name="csrf" value="{{page.form_token}}"><input type="hidden" name="sure" value="yes">
<label class="wide">{{t('webhook_url')}} <input type="url" name="url" value="{{url}}" required autocomplete="off"></label>
<button class="primary" name="action" value="{{action}}">{{t('yes_do_it')}}</button>
<a href="{{page.base}}/">{{t('cancel')}}</a>
</form>
</section>
