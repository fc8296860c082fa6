% def when(time):
%   if time is None:
–\\
%   else:
<time datetime="{{time.isoformat(timespec='seconds')}}">{{time.strftime('%d %b %H:%M:%S')}}</time>\\
%   end
% end
% query = '?token=' + token if token else ''
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="5;url={{base}}{{query}}">
<title>{{counts['pending']}} pending · {{counts['failed']}} failed – Scalable mode</title>
<link rel="icon" href="{{base}}/static/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="{{base}}/static/dashboard.css">
</head>
<body>
<header>
<h1>Scalable mode</h1>
<p>Times are UTC. The page renews itself every 5 seconds. <a href="{{base}}?{{'token=' + token + '&' if token else ''}}format=json">JSON</a></p>
</header>
<main>
% if notice:
<p class="notice" role="status">{{notice}}</p>
% end
<dl class="counts" aria-label="Jobs by state">
% for name, count in counts.items():
<div class="{{name}}"><dt>{{name}}</dt><dd>{{count}}</dd></div>
% end
</dl>
% if counts['failed']:
<form method="post" action="{{base}}" class="all">
<input type="hidden" name="csrf" value="{{csrf}}"><input type="hidden" name="token" value="{{token}}">
<button name="action" value="retry-all-failed">Retry all {{counts['failed']}} failed jobs</button>
</form>
% end
% if not jobs:
<p class="empty">No update has arrived yet. Point the bot's webhook at webhook_queue.py, or send one with curl.</p>
% else:
<table>
<caption>The {{len(jobs)}} newest jobs</caption>
<thead><tr><th scope="col">Job</th><th scope="col">State</th><th scope="col">Update</th><th scope="col">Attempts</th>
<th scope="col">Arrived</th><th scope="col">Finished</th><th scope="col">Details</th></tr></thead>
<tbody>
% for job in jobs:
<tr>
<td data-label="Job">{{job.id}}</td>
<td data-label="State"><span class="state {{job.status}}">{{job.status}}</span></td>
<td data-label="Update">{{job.update_type or 'unknown type'}}\\
% if job.update_id is not None:
 <small>{{job.update_id}}</small>\\
% end
</td>
<td data-label="Attempts">{{job.attempts}}</td>
<td data-label="Arrived">\\
% when(job.created_at)
</td>
<td data-label="Finished">\\
% when(job.processed_at)
</td>
<td data-label="Details">\\
% if job.status == 'processing':
<small>{{job.reserved_by}} since \\
% when(job.reserved_at)
</small>\\
% elif job.status == 'pending' and job.attempts:
<small>next attempt at \\
% when(job.available_at)
</small>\\
% end
% if job.error_message:
<details><summary dir="auto">{{in_a_line(job.error_message, 100)}}</summary><pre dir="auto">{{job.error_message}}</pre></details>\\
% end
% if job.status in ('failed', 'expired'):
<form method="post" action="{{base}}">
<input type="hidden" name="csrf" value="{{csrf}}"><input type="hidden" name="token" value="{{token}}">
<input type="hidden" name="id" value="{{job.id}}"><button name="action" value="retry">Retry</button>
</form>\\
% end
</td>
</tr>
% end
</tbody>
</table>
% end
</main>
</body>
</html>
