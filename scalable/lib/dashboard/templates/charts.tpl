<section id="charts" data-charts="{{page.link('/', part='charts', span=span)}}">
<h2>{{t('charts')}}</h2>
<p class="spans">
% for name in spans:
<a href="{{page.link('/', span=name)}}#charts"{{!' aria-current="true"' if name == span else ''}}>{{t(name)}}</a>
% end
</p>
% if no_points:
<p class="empty">{{t('chart_empty')}}</p>
% end
% for chart, heading, series in charts:
<figure id="chart-{{chart}}">
<figcaption>{{heading}}</figcaption>
<div class="plot" data-keep data-from="table-{{chart}}" aria-hidden="true"></div>
<details><summary>{{t('as_table')}}<span class="unseen">: {{heading}}</span></summary>
<div class="scroll" tabindex="0" role="group" aria-label="{{heading}}">
<table id="table-{{chart}}">
<thead><tr><th scope="col">{{t('time')}}</th>
% for name, key, _ in series:
<th scope="col" data-series="{{name}}">{{t(key)}}</th>
% end
</tr></thead>
<tbody>
% for point in points:
<tr><th scope="row">{{!page.time(point.at, True)}}</th>\\
%   for _, _, value_of in series:
%     value = value_of(point)
<td data-value="{{'' if value is None else '%.4g' % value}}">{{'–' if value is None else page.n(value, 2)}}</td>\\
%   end
</tr>
% end
</tbody>
</table>
</div>
</details>
</figure>
% end
</section>
