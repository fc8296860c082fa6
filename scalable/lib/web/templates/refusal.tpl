% rebase('layout.tpl', title=str(code))
<section class="ask">
<p class="refusal" role="alert"><strong>{{code}}</strong> {{why}}</p>
% if code == 403 and asks:
% include('login.tpl')
% else:
<p><a href="{{page.base}}/">{{t('overview')}}</a></p>
% end
</section>
