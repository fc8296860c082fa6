<!doctype html>
<html lang="{{page.language.name}}">
<title>{{title}} – {{t('title')}}</title>
{{!base}}
</html>
