// Keeps the page as it is on the server without loading it anew, tells times in the reader's own zone, draws the charts.
// Everything works without this file, too: the page then renews itself.
"use strict";

(() => {
  const PAUSE_MS = 2000, LONGEST_PAUSE_MS = 60000, PATIENCE_MS = 20000, CHARTS_MS = 60000;
  // A search goes on by itself for so long; the link to look further stays.
  const SEARCH_MS = 60000;
  // A server that answers slowly is asked less often: no more than a fifth of its time is ours.
  const SHARE = 5;
  // The page's language as it is written where the reader lives: 24 hours in en-GB.
  const page = document.documentElement.lang;
  const language = navigator.languages.find((each) => each.split("-")[0] === page) || page;

  // --- times ---

  const relative = new Intl.RelativeTimeFormat(language, { style: "short" });
  const exact = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "medium" });
  const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];

  function ago(milliseconds) {
    const seconds = (milliseconds - Date.now()) / 1000;
    const [unit, size] = UNITS.find(([, each]) => Math.abs(seconds) >= each) || UNITS[UNITS.length - 1];
    return relative.format(Math.trunc(seconds / size), unit);
  }

  function tellTimes(root) {
    for (const time of root.querySelectorAll("time")) {
      const moment = Date.parse(time.dateTime);
      const [shown, title] = [ago(moment), exact.format(moment)];
      const text = time.dataset.exact === undefined ? shown : title;
      if (time.textContent !== text) time.textContent = text;
      const other = time.dataset.exact === undefined ? title : shown;
      if (time.title !== other) time.title = other;
    }
  }

  // --- changing the page in place: what is the same stays, with its selection, focus, scroll and open details ---

  function morph(old, fresh) {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.data !== fresh.data) old.data = fresh.data;
      return;
    }
    const isReaders = (name) => name === "open" && old.nodeName === "DETAILS";
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value && !isReaders(name)) old.setAttribute(name, value);
    }
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name) && !isReaders(name)) old.removeAttribute(name);
    }
    if (old.dataset.keep === undefined) morphChildren(old, fresh);
  }

  function morphChildren(old, fresh) {
    const wantedIds = new Set([...fresh.children].map((child) => child.id).filter(Boolean));
    for (const child of [...old.children]) {
      if (child.id && !wantedIds.has(child.id)) child.remove();
    }
    let here = old.firstChild;
    for (const wanted of [...fresh.childNodes]) {
      const match = wanted.id
        ? [...old.children].find((child) => child.id === wanted.id)
        : here && here.nodeName === wanted.nodeName && !here.id ? here : null;
      if (!match) {
        old.insertBefore(document.importNode(wanted, true), here);
        continue;
      }
      if (match === here) here = here.nextSibling;
      else old.insertBefore(match, here);
      morph(match, wanted);
    }
    while (here) {
      const next = here.nextSibling;
      here.remove();
      here = next;
    }
  }

  function take(html, selector) {
    const fresh = new DOMParser().parseFromString(html, "text/html");
    tellTimes(fresh);
    for (const part of fresh.querySelectorAll(selector)) {
      const old = document.getElementById(part.id);
      if (old) morph(old, part);
    }
    if (fresh.title) document.title = fresh.title;
  }

  // --- live ---

  const state = document.getElementById("live-state");
  let tag = null, failures = 0, timer = null, isAsking = false;

  function show(word) {
    state.hidden = false;
    state.dataset.state = word;
    state.textContent = document.body.getAttribute(`data-word-${word}`);
  }

  function liveAddress() {
    const address = new URL(location.href);
    address.hash = "";
    for (const name of ["did", "n"]) address.searchParams.delete(name);
    address.searchParams.set("part", "live");
    return address;
  }

  async function ask() {
    const answer = await fetch(liveAddress(), {
      headers: tag ? { "If-None-Match": tag } : {}, cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS),
    });
    if (answer.status === 403 || answer.status === 404) location.reload(); // logged out, or the job was deleted
    if (answer.status === 200) {
      take(await answer.text(), "[data-live]");
      tag = answer.headers.get("ETag");
    } else if (answer.status !== 304) {
      throw new Error(`status ${answer.status}`);
    }
  }

  async function refresh() {
    clearTimeout(timer);
    if (document.hidden || isAsking) return;
    isAsking = true;
    const began = performance.now();
    let pause = PAUSE_MS;
    try {
      await ask();
      failures = 0;
      pause = Math.min(Math.max(PAUSE_MS, SHARE * (performance.now() - began)), LONGEST_PAUSE_MS);
      show(pause > PAUSE_MS ? "slow" : "live");
    } catch {
      failures += 1;
      pause = Math.min(PAUSE_MS * 2 ** failures, LONGEST_PAUSE_MS);
      show("lost");
    }
    isAsking = false;
    tellTimes(document);
    if (document.hidden) show("hidden"); // since it asked
    else timer = setTimeout(refresh, pause);
  }

  function watchTab() {
    if (document.hidden) {
      clearTimeout(timer);
      show("hidden");
    } else {
      refresh();
    }
  }

  // --- searching: a page is opened with what was found at once, and looks further back until it is full ---

  async function lookFurther(section, until) {
    const link = section.querySelector("[data-look-further]");
    if (!link || performance.now() > until) return;
    const began = performance.now();
    const answer = await fetch(link.href, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
    if (answer.status !== 200 || !link.isConnected) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("jobs");
    tellTimes(fresh);
    const [found, more] = [section.querySelector("#found"), fresh.querySelector("#found")];
    const [rows, moreRows] = [found.querySelector("tbody"), more.querySelector("tbody")];
    if (!rows) found.replaceChildren(...more.childNodes);
    else if (moreRows) rows.append(...moreRows.rows);
    section.querySelector(".pager").replaceWith(fresh.querySelector(".pager"));
    await new Promise((done) => setTimeout(done, performance.now() - began)); // half of the server's time at most
    return lookFurther(section, until);
  }

  // --- charts ---

  const plots = new Map();

  function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  }

  function numbers(table) {
    const rows = [...table.tBodies[0].rows];
    const times = rows.map((row) => Date.parse(row.querySelector("time").dateTime) / 1000);
    const columns = [...table.tHead.rows[0].cells].slice(1).map((_, index) => rows.map((row) => {
      const value = row.cells[index + 1].dataset.value;
      return value === "" ? null : Number(value);
    }));
    return [times, ...columns];
  }

  function options(table, width) {
    const clock = new Intl.DateTimeFormat(language, { timeStyle: "short" });
    const day = new Intl.DateTimeFormat(language, { month: "short", day: "numeric" });
    const axis = { stroke: colour("quiet"), grid: { stroke: colour("line"), width: 1 }, ticks: { stroke: colour("line") } };
    const heads = [...table.tHead.rows[0].cells];
    // Where the reader points at; otherwise the newest.
    const at = (plot, index, place) => plot.data[index][place ?? plot.data[index].length - 1];
    const written = (plot, _, index, place) => {
      const value = at(plot, index, place);
      return value === null ? "–" : value.toLocaleString(language, { maximumFractionDigits: value < 10 ? 2 : 0 });
    };
    return {
      width, height: 200,
      scales: { y: { range: (_, low, high) => [0, Math.max(high * 1.1, 0.1)] } },
      series: [
        { label: heads[0].textContent, value: (plot, _, index, place) => exact.format(at(plot, index, place) * 1000) },
        ...heads.slice(1).map((head) => ({
          label: head.textContent, stroke: colour(`series-${head.dataset.series}`), width: 1.5, value: written,
          points: { show: false }, dash: head.dataset.series.endsWith("_95") ? [5, 4] : undefined,
          fill: head.dataset.series === "in" ? colour("line") : undefined, // what came in is behind what became of it
        })),
      ],
      axes: [
        { ...axis, values: (_, splits, __, ___, step) => splits.map((second) => (step < 86400 ? clock : day).format(second * 1000)) },
        { ...axis, size: 48, values: (_, splits) => splits.map((value) => value.toLocaleString(language)) },
      ],
    };
  }

  function draw() {
    if (typeof uPlot === "undefined") return;
    for (const plot of document.querySelectorAll(".plot")) {
      const table = document.getElementById(plot.dataset.from);
      if (plots.has(plot)) plots.get(plot).destroy();
      plots.set(plot, new uPlot(options(table, plot.clientWidth), numbers(table), plot));
    }
  }

  async function refreshCharts(section) {
    if (document.hidden) return;
    const answer = await fetch(section.dataset.charts, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
    if (answer.status !== 200) return;
    const before = document.querySelectorAll(".plot").length;
    take(await answer.text(), "#charts");
    if (document.querySelectorAll(".plot").length !== before) draw(); // the first numbers came in
    for (const [plot, chart] of plots) chart.setData(numbers(document.getElementById(plot.dataset.from)));
  }

  function startCharts(section) {
    draw();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
    let width = section.clientWidth;
    new ResizeObserver(() => {
      if (section.clientWidth === width) return;
      width = section.clientWidth;
      for (const [plot, chart] of plots) chart.setSize({ width: plot.clientWidth, height: 200 });
    }).observe(section);
    // A failed one is made up for by the next.
    setInterval(() => refreshCharts(section).catch(() => {}), CHARTS_MS);
  }

  // --- beginning ---

  tellTimes(document);
  const shown = new URL(location.href);
  if (shown.searchParams.has("did")) {
    for (const name of ["did", "n"]) shown.searchParams.delete(name);
    history.replaceState(null, "", shown); // the message is of now, not of the next visit
  }
  const charts = document.getElementById("charts");
  if (charts) startCharts(charts);
  if (document.querySelector("[data-live]")) {
    show("live");
    timer = setTimeout(refresh, PAUSE_MS);
    document.addEventListener("visibilitychange", watchTab);
  } else {
    setInterval(() => tellTimes(document), PAUSE_MS);
  }
  const search = document.querySelector("[data-look-further]");
  if (search) lookFurther(search.closest("section"), performance.now() + SEARCH_MS).catch(() => {}); // the link stays
  const goesOn = document.querySelector("form[data-continue]");
  if (goesOn) goesOn.requestSubmit(goesOn.querySelector("button"));
})();
