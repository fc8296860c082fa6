<form class="login" method="post" action="{{page.base}}/">
<input class="unseen" name="username" value="scalable" autocomplete="username" tabindex="-1" aria-hidden="true" readonly>
<label>{{t('password')}} <input type="password" name="token" value="{{get('given', '')}}" autocomplete="current-password" required></label>
<button class="primary" name="action" value="login">{{t('log_in')}}</button>
</form>
