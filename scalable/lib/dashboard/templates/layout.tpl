<!doctype html>
<html lang="{{page.language.name}}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{{title}} – {{t('title')}}</title>
% if get('live', False):
<noscript><meta http-equiv="refresh" content="10"></noscript>
% end
<link rel="icon" href="{{page.static('icon.svg')}}" type="image/svg+xml">
<link rel="stylesheet" href="{{page.static('dashboard.css')}}">
% if get('charts', False):
<link rel="stylesheet" href="{{page.static('uplot.css')}}">
<script src="{{page.static('uplot.js')}}" defer></script>
% end
<script src="{{page.static('dashboard.js')}}" defer></script>
</head>
<body data-word-live="{{t('live')}}" data-word-hidden="{{t('live_paused')}}" data-word-slow="{{t('live_slow')}}" data-word-lost="{{t('live_lost')}}">
<a class="skip" href="#main">{{t('skip_link')}}</a>
<header>
<a class="brand" href="{{page.base}}/"><img src="{{page.static('icon.svg')}}" alt="" width="24" height="24">{{t('title')}}</a>
% if not page.visitor.is_stranger:
<nav aria-label="{{t('menu')}}">
% for path, key in (('/', 'overview'), ('/jobs', 'jobs'), *((('/doctor', 'check'),) if page.is_owner else ())):
<a href="{{page.base}}{{path}}"{{!' aria-current="page"' if page.here.split('?')[0] == path else ''}}>{{t(key)}}</a>
% end
</nav>
% end
<div class="tools">
<span id="live-state" hidden></span>
% if page.visitor.role.value == 'reader':
<span class="badge">{{t('reader')}}</span>
% end
<span class="languages" role="group" aria-label="{{t('language')}}">
% for name, title_of in page.languages.items():
%   if name == page.language.name:
<span lang="{{name}}" aria-current="true" title="{{title_of}}">{{name.upper()}}</span>
%   else:
<a href="{{page.link(page.here.split('?')[0], lang=name)}}" lang="{{name}}" hreflang="{{name}}" title="{{title_of}}">{{name.upper()}}</a>
%   end
% end
</span>
% if page.can_leave:
<form method="post" action="{{page.base}}/"><input type="hidden" name="csrf" value="{{page.form_token}}"><button class="quiet" name="action" value="logout">{{t('log_out')}}</button></form>
% end
</div>
</header>
<main id="main" tabindex="-1">
% if page.notice:
<p class="notice" role="status">{{page.notice}}</p>
% end
{{!base}}
</main>
% if page.is_owner:
<form id="act" method="post" action="{{page.base}}/"><input type="hidden" name="csrf" value="{{page.form_token}}"><input type="hidden" name="back" value="{{page.here}}"></form>
% end
<footer>
<span>{{t('version', version=page.version)}}</span>
% if get('server'):
<span>{{server.product}} {{server.version}}</span>
% end
% if page.queue_order:
<span>{{t('order', order=page.queue_order)}}</span>
% end
% if not page.visitor.is_stranger:
<a href="{{page.link('/', format='json')}}">{{t('json')}}</a>
% end
</footer>
</body>
</html>
