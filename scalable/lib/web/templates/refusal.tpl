<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{status}} – Scalable mode</title>
<link rel="stylesheet" href="{{base}}/static/dashboard.css">
</head>
<body>
<header><h1>Scalable mode</h1></header>
<main><p class="refusal"><strong>{{status}}</strong> {{why}}</p></main>
</body>
</html>
