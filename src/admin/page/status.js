"use strict";
(() => {
  const EVERY = 2000, PATIENCE = 5000;
  const at = (id) => document.getElementById(id);
  const make = (name, content, className) => {
    const node = document.createElement(name);
    if (className) node.className = className;
    for (const part of [content].flat()) if (part !== undefined && part !== null) node.append(part);
    return node;
  };
  // Only what changed is written: a selection or a focused button outlives a refresh.
  const show = (node, text) => { if (node.textContent !== text) node.textContent = text; };
  const last = new Map();
  const changed = (id, data) => {
    const text = JSON.stringify(data);
    if (last.get(id) === text) return false;
    last.set(id, text);
    return true;
  };

  const whole = (n) => Math.round(n).toLocaleString("en-US");
  const short = (n) => n >= 100 ? whole(n) : n >= 10 ? n.toFixed(0) : n === 0 ? "0" : n.toFixed(1);
  const span = (s) => {
    if (s < 60) return `${s} s`;
    if (s < 3600) return `${Math.floor(s / 60)} min` + (s < 600 && s % 60 ? ` ${s % 60} s` : "");
    if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor(s % 3600 / 60)} min`;
    return `${Math.floor(s / 86400)} d ${Math.floor(s % 86400 / 3600)} h`;
  };
  const ms = (n) => n === null || n === undefined ? "–" : n < 1 ? "<1 ms" : n < 1000 ? `${n.toFixed(0)} ms`
    : n < 60000 ? `${(n / 1000).toFixed(1)} s` : span(Math.round(n / 1000));
  const percent = (share) => share === null ? "–" : share === 1 ? "100 %" : share === 0 ? "0 %" : `${Math.min(99.9, share * 100).toFixed(share > 0.1 ? 1 : 2)} %`;
  const type = (text) => text.replaceAll("_", " ");

  // Sparklines

  const SVG = "http://www.w3.org/2000/svg";
  const spark = (values, label) => {
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", "0 0 89 20");
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("role", "img");
    const known = values.filter((v) => v !== null);
    const most = Math.max(...known, 0);
    svg.setAttribute("aria-label", known.length ? `${label}, last 15 minutes: at most ${short(most)}` : `${label}: no history yet`);
    let line = "", drawn = false;
    values.forEach((value, n) => {
      if (value === null) { drawn = false; return; }
      const x = 90 - values.length + n, y = most ? 19 - 18 * value / most : 19;
      line += `${drawn ? "L" : "M"}${x} ${y.toFixed(1)}`;
      drawn = true;
    });
    if (known.length === values.length && values.length > 1) {
      const area = document.createElementNS(SVG, "path");
      area.setAttribute("class", "area");
      area.setAttribute("d", `${line}L89 20L${90 - values.length} 20Z`);
      svg.append(area);
    }
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", line || "M0 19");
    svg.append(path);
    return svg;
  };

  // `line` says what the line shows, where that is not what the number tells.
  const tile = (name, value, unit, values, alert, note, line = name) => {
    const node = make("div", undefined, alert ? "tile alert" : "tile");
    node.append(make("dl", [make("dt", name), make("dd", [value, unit ? make("small", ` ${unit}`) : ""]), note && make("dd", note, "note")]), spark(values, line));
    return node;
  };

  // The queue is sampled every ten seconds, its dead-letter queue once a minute.
  const sampled = (ago, most) => ago > most ? `sampled ${span(ago)} ago` : "as sampled";

  // Tables

  const tables = new Map();
  // Each row is known by its key, and each cell by what was drawn in it: what has not changed stays as it is, with what
  // is selected or focused in it.
  const table = (id, none, key, columns, rows) => {
    if (!changed(id, rows)) return;
    const place = at(id);
    if (!rows.length) {
      tables.delete(id);
      place.replaceChildren(make("p", none, "none"));
      return;
    }
    if (!tables.has(id)) {
      const head = make("tr", columns.map(([name, , className]) => {
        const cell = make("th", name, className);
        cell.scope = "col";
        return cell;
      }));
      const body = make("tbody");
      tables.set(id, { body, lines: new Map() });
      place.replaceChildren(make("div", make("table", [make("thead", head), body]), "scroll"));
    }
    const { body, lines } = tables.get(id);
    const wanted = new Map();
    for (const row of rows) {
      let name = key(row);
      while (wanted.has(name)) name += "+";
      wanted.set(name, row);
    }
    for (const [name, line] of lines) {
      if (!wanted.has(name)) {
        line.remove();
        lines.delete(name);
      }
    }
    let there = body.firstChild;
    for (const [name, row] of wanted) {
      if (!lines.has(name)) lines.set(name, make("tr", columns.map(emptyCell)));
      const line = lines.get(name);
      columns.forEach(([, cell], n) => write(line.cells[n], cell(row)));
      if (line === there) there = there.nextSibling;
      else body.insertBefore(line, there);
    }
  };
  const emptyCell = ([name, , className], n) => {
    const node = make("td", undefined, n ? className : "lead");
    node.dataset.name = name;
    return node;
  };
  const drawn = new WeakMap();
  const write = (cell, content) => {
    const fresh = make("td", content);
    if (drawn.get(cell)?.isEqualNode(fresh)) return;
    drawn.set(cell, fresh.cloneNode(true));
    cell.replaceChildren(...fresh.childNodes);
  };
  const sub = (text, whole) => text ? make("span", text, whole ? "sub whole" : "sub") : null;
  const many = (n, atLeast) => (atLeast ? "≥ " : "") + whole(n);
  const count = (id, rows) => show(at(id), !rows.count ? "" : many(rows.count, rows.at_least) + (rows.count > rows.rows.length ? `, the first ${rows.rows.length} shown` : ""));
  const MARKS = { ok: "✓", slow: "◔", failing: "▲", down: "✕", unknown: "?", delivering: "✓", degraded: "▲", unready: "✕", draining: "↓", silent: "✕" };
  const badge = (state) => make("span", `${MARKS[state]} ${state}`, `badge ${state}`);
  const copyable = (text) => {
    const code = make("code", text), button = make("button");
    const say = (word) => {
      button.textContent = word;
      button.setAttribute("aria-label", `${word}: ${text}`);
    };
    button.type = "button";
    say("Copy");
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(text);
        say("Copied");
      } catch {
        // Over plain HTTP a browser has no clipboard for a page, but at a loopback address.
        getSelection().selectAllChildren(code);
        say("Selected: copy it");
      }
    });
    return make("span", [code, " ", button]);
  };

  const draw = (s) => {
    const box = at("state");
    box.dataset.state = s.state;
    show(box.firstElementChild, MARKS[s.state]);
    show(at("state-word"), s.state);
    show(at("why"), s.why.length ? `– ${s.why.join("; ")}` : "");
    show(at("about"), `hookferry ${s.release} · up ${span(s.uptime_s)} · queue ${s.queue} in ${s.region} · replica ${s.replica} (this replica only)`);
    document.title = `${s.state} · hookferry`;

    const { now, totals, history: h } = s;
    if (changed("tiles", [now, h, s.limits, s.totals, s.failing])) {
      const rate = (values) => values.map((v) => v === undefined ? null : v);
      at("tiles").replaceChildren(
        tile("Deliveries", short(now.deliveries), "/ s", rate(h.deliveries)),
        tile("Lag, median", ms(now.lag_p50), "", rate(h.lag_p50)),
        tile("Lag, p99", ms(now.lag_p99), "", rate(h.lag_p99)),
        tile("In flight", whole(now.in_flight), `of ${whole(s.limits.max_in_flight)}`, rate(h.in_flight), false,
          `${whole(s.limits.bytes_in_flight / 1048576)} of ${whole(s.limits.max_bytes_in_flight / 1048576)} MiB`),
        tile("Failing destinations", many(now.failing, s.failing.at_least && now.failing > 0), "", rate(h.failing), now.failing > 0),
        tile("Blocked groups", whole(now.blocked), "", rate(h.blocked), now.blocked > 0),
        tile("Oldest waiting", now.oldest ? span(now.oldest) : "–", "", rate(h.oldest), false,
          totals.queue_sampled ? `${whole(totals.queue_visible)} visible, ${whole(totals.queue_hidden)} hidden in the queue, ${sampled(totals.queue_sampled_s, 120)}` : "the queue is not sampled yet"),
        tile("In the dead-letter queue", totals.dead_letter_queue_sampled ? whole(totals.dead_letter_queue) : "–", "", rate(h.dead_letters), totals.dead_letter_queue > 0 || now.dead_letters > 0,
          `${totals.dead_letter_queue_sampled ? sampled(totals.dead_letter_queue_sampled_s, 300) : "not sampled"}; ${whole(totals.dead_letters)} given up here${totals.lost ? `, ${whole(totals.lost)} lost` : ""}`, "Given up here"));
    }

    count("n-blocked", s.blocked);
    table("blocked", "No group is blocked.", (r) => r.group, [
      ["App", (r) => [r.app || "unknown app", sub(r.queue_type ? type(r.queue_type) : r.group)]],
      ["Blocked for", (r) => [span(r.blocked_s), sub(`job sent ${span(r.age_s)} ago`, true)]],
      ["Why", (r) => [r.detail, sub(r.destination)]],
      ["Attempts here", (r) => [whole(r.attempts), sub(`received ${whole(r.receives)} times`)], "number"],
      ["Next retry", (r) => r.next_retry_s ? `in ${span(r.next_retry_s)}` : "due", "number"],
      ["Behind it", (r) => `≥ ${whole(r.behind)}`, "number"],
    ], s.blocked.rows);

    count("n-destinations", s.destinations);
    table("destinations", "Nothing was attempted yet.", (r) => `${r.app} ${r.webhook}`, [
      ["Destination", (r) => [r.destination || "none", sub(`${r.app} · webhook ${r.webhook}`)]],
      ["State", (r) => [badge(r.state), sub(r.last_failed_s !== null ? `last failed ${span(r.last_failed_s)} ago` : r.since_s === null ? "" : `for ${span(r.since_s)}`)]],
      ["Taken, 5 min", (r) => [percent(r.success), sub(r.attempts ? `of ${whole(r.attempts)}` : "")], "number"],
      ["Median / p99", (r) => `${ms(r.p50_ms)} / ${ms(r.p99_ms)}`, "number"],
      ["Last error", (r) => r.error || ""],
      ["Deferred", (r) => whole(r.deferred), "number"],
      ["Dead letters", (r) => whole(r.dead_lettered), "number"],
    ], s.destinations.rows);

    count("n-letters", { count: totals.dead_letters, rows: s.dead_letters.rows });
    table("letters", "None by this replica since it started.", (r) => r.id, [
      ["App", (r) => [r.app || "unknown app", sub(r.webhook ? `${r.destination ? `${r.destination} · ` : ""}webhook ${r.webhook}${r.others ? ` and ${r.others} more` : ""}` : r.group)]],
      ["When", (r) => `${span(r.ago_s)} ago`],
      ["Why", (r) => [r.detail, sub(r.attempts === 1 ? "1 attempt" : `${r.attempts} attempts`)]],
      ["Look at it", (r) => r.kept ? copyable(`hookferry dlq show ${r.id}`) : ["deleted: no dead-letter queue", sub(r.id)]],
    ], s.dead_letters.rows);

    count("n-apps", s.apps);
    table("apps", "No job of a known app has come yet.", (r) => r.app, [
      ["App", (r) => r.app],
      ["Load, 5 min", (r) => `${short(r.load)} / s`, "number"],
      ["Delivered", (r) => whole(r.delivered), "number"],
      ["Failed", (r) => whole(r.failed), "number"],
      ["Deferred for fairness", (r) => whole(r.deferred), "number"],
      ["Dead letters", (r) => whole(r.dead_lettered), "number"],
      ["Filtered out whole", (r) => whole(r.unmatched), "number"],
    ], s.apps.rows);

    table("attributes", "This worker does not tell them; hookferry check does.", (r) => r.name, [
      ["Attribute", (r) => make("code", r.name)],
      ["Value", (r) => r.value],
      ["Recommended", (r) => r.recommended],
      ["", (r) => r.ok ? "✓ will do" : make("span", "▲ differs", "badge failing")],
    ], s.attributes);
    const rest = s.warnings_left_out ? [`and ${whole(s.warnings_left_out)} more: see hookferry check, and the log`] : [];
    const warnings = [...s.warnings, ...rest];
    if (changed("warnings", warnings)) {
      at("warnings").replaceChildren(...(warnings.length ? [make("ul", warnings.map((text) => make("li", text)))] : []));
    }
    table("settings", "This worker does not tell it; hookferry env --effective does.", (r) => r.name, [
      ["Variable", (r) => make("code", r.name)],
      ["Value", (r) => r.value],
      ["From", (r) => r.source],
    ], s.settings);
  };

  // Every two seconds while the page is looked at, one request at a time.

  let timer, heard = Date.now();
  // In words what the address answered instead of a status, or nothing where nothing answered.
  const silent = (answered, why) => {
    const box = at("state");
    box.dataset.state = "silent";
    show(box.firstElementChild, MARKS.silent);
    show(at("state-word"), "no answer");
    const since = span(Math.round((Date.now() - heard) / 1000));
    show(at("why"), answered ? `– this address ${answered}; the last status came ${since} ago, and what is below is old`
      : `– the worker has not answered for ${since} (${why}); what is below is old`);
    document.title = "no answer · hookferry";
  };
  const ask = async () => {
    let answered = "";
    try {
      // Beside the page, wherever a proxy has put it.
      const answer = await fetch("status", { cache: "no-store", credentials: "omit", signal: AbortSignal.timeout(PATIENCE) });
      answered = `answered ${answer.status}`;
      if (!answer.ok) throw new Error(answered);
      const status = await answer.json();
      answered = "";
      draw(status);
      heard = Date.now();
    } catch (error) {
      silent(answered === "answered 200" ? "answered with no status of a worker" : answered, error.message);
    }
  };
  const next = async () => {
    clearTimeout(timer);
    timer = undefined;
    if (document.hidden) return;
    await ask();
    clearTimeout(timer);
    timer = document.hidden ? undefined : setTimeout(next, EVERY);
  };
  document.addEventListener("visibilitychange", () => { if (!document.hidden) next(); });
  next();
})();
