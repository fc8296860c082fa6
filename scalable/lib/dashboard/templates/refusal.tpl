% rebase('layout.tpl', title=str(code))
<section class="ask">
<h1>{{code}}</h1>
<p class="refusal" role="alert">{{why}}</p>
% if code == 403 and asks:
% include('login.tpl')
% else:
<p><a href="{{page.base}}/">{{t('overview')}}</a></p>
% end
</section>
