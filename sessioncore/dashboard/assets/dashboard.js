// Shows the snapshots of the server.  Whatever comes from a peer is put on the page by
// textContent, so it is text and nothing else.
"use strict";

const SVG = "http://www.w3.org/2000/svg";
const SAMPLES = 60;
const calls = new Map(); // by session: what the server says, and the card
const tiles = new Map();

const byId = (id) => document.getElementById(id);
const clone = (id) => byId(id).content.firstElementChild.cloneNode(true);

function svg(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function cut(text, most) {
  return text.length > most ? text.slice(0, most - 1) + "\u2026" : text;
}

function words(text) {
  return text.replaceAll("_", " ");
}

// --- numbers as people read them

const known = (value) => value !== null && value !== undefined;
const percent = (share) => (known(share) ? `${(100 * share).toFixed(share && share < 0.1 ? 1 : 0)} %` : "\u2013");
const milliseconds = (value) => (known(value) ? `${value.toFixed(value < 10 ? 1 : 0)} ms` : "\u2013");
const level = (value) => (known(value) ? `${value.toFixed(0)} dB` : "\u2013");
const grouped = (value) => value.toLocaleString("en");

function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (value) => String(value).padStart(2, "0");
  const minutes = `${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
  return whole >= 3600 ? `${Math.floor(whole / 3600)}:${minutes}` : minutes;
}

// --- small line plots: the last minute, newest at the right

function plot(element, values, low, high) {
  const width = SAMPLES - 1, height = 30;
  const y = (value) => height - 2 - (height - 5) * Math.min(1, Math.max(0, (value - low) / (high - low)));
  const runs = [];
  let run = null;
  values.slice(-SAMPLES).forEach((value, place, all) => {
    if (!known(value)) { run = null; return; }
    if (!run) runs.push((run = []));
    run.push([width - (all.length - 1 - place), y(value)]);
  });
  element.setAttribute("viewBox", `0 0 ${width} ${height}`);
  element.replaceChildren();
  for (const points of runs) {
    if (points.length === 1) points.unshift([points[0][0] - 0.6, points[0][1]]);
    const line = points.map(([x, at]) => `${x.toFixed(1)} ${at.toFixed(1)}`).join("L");
    const left = points[0][0].toFixed(1), right = points[points.length - 1][0].toFixed(1);
    element.append(
      svg("path", { class: "area", d: `M${left} ${height}L${line}L${right} ${height}Z` }),
      svg("path", { class: "stroke", d: `M${line}` }),
    );
  }
}

function mark(element, name, on) {
  if (on) element.dataset[name] = "";
  else delete element.dataset[name];
}

// --- the health of the server

const TILES = [
  ["calls", "Calls", (h) => [h.calls, `of ${grouped(h.max_calls)}`], (h) => h.calls, 4],
  ["cpu", "CPU of one core", (h) => [(100 * h.cpu).toFixed(0), "%"], (h) => h.cpu, 1, (h) => h.cpu > 0.85],
  ["late", "Ticks late by", (h) => [h.late_ms.toFixed(1), "ms (99 %)"], (h) => h.late_ms, 5, (h) => h.late_ms > 10],
  ["packets", "RTP in / out", (h) => [`${grouped(h.packets_in)} / ${grouped(h.packets_out)}`, "/s"],
    (h) => h.packets_in, 100],
  ["ports", "RTP ports free", (h) => [grouped(h.ports_free), `of ${grouped(h.ports)}`], (h) => h.ports_free, 1,
    (h) => h.ports_free < h.ports / 20],
  ["ended", "Answered", (h) => [grouped(h.answered), `${grouped(h.failed)} failed, ${grouped(h.refused)} refused`],
    (h) => h.answered, 1],
];

function showHealth(health) {
  for (const [name, label, text, value, least, isHigh] of TILES) {
    if (!tiles.has(name)) {
      const made = clone("tile");
      made.querySelector(".label").textContent = label;
      byId("tiles").append(made);
      tiles.set(name, { element: made, values: [] });
    }
    const { element, values } = tiles.get(name);
    const [number, unit] = text(health);
    element.querySelector(".number").textContent = number;
    element.querySelector(".unit").textContent = unit;
    values.push(value(health));
    values.splice(0, values.length - SAMPLES);
    mark(element, "high", isHigh && isHigh(health));
    plot(element.querySelector(".spark"), values, 0, Math.max(least, ...values) * 1.1);
  }
  byId("trouble").hidden = !health.trouble;
  byId("trouble").textContent = health.trouble || "";
}

// --- the ladder of one call: the caller at the left, whoever that is

const ROW = 24, TOP = 46, LEFT = 112, RIGHT = 404, WIDE = 500;

function drawLadder(call, card) {
  const { own, peers, steps, left_out: leftOut } = call.ladder;
  const element = card.querySelector(".ladder");
  const outgoing = call.role === "UAC";
  const ownX = outgoing ? LEFT : RIGHT;
  const peerX = (index) => {
    const share = peers.length > 1 ? index / (peers.length - 1) : 1;
    const near = peers.length > 1 ? 0.55 : 1;
    const way = (RIGHT - LEFT) * (near + (1 - near) * share);
    return outgoing ? LEFT + way : RIGHT - way;
  };
  element.replaceChildren();
  const rows = [];
  steps.forEach((step, number) => {
    if (number === 20 && leftOut) rows.push([null, null, `\u2026 ${leftOut} steps are left out`]);
    rows.push([step, number]);
  });
  const media = call.media && call.ended === null;
  const height = TOP + ROW * (rows.length + (media ? 2 : 0)) + 14;
  element.setAttribute("viewBox", `0 0 ${WIDE} ${height}`);
  const ends = [[ownX, "us", own], ...peers.map((peer, index) => [peerX(index), "peer", peer])];
  ends.forEach(([x, name, host], index) => {
    const low = index > 1 ? 11 : 0; // several peers stand close
    element.append(
      svg("line", { class: "life", x1: x, x2: x, y1: TOP - 8, y2: height }),
      svg("text", { class: "end", x, y: 12, "text-anchor": "middle" }, index > 1 ? "" : name),
      svg("text", { class: "host", x, y: 27 + low, "text-anchor": "middle" }, cut(host, 24)),
    );
  });
  rows.forEach(([step, number, text], row) => {
    const y = TOP + ROW * row + 14;
    if (step === null) {
      element.append(svg("text", { class: "when", x: ownX + (outgoing ? 12 : -12), y,
        "text-anchor": outgoing ? "start" : "end" }, text));
      return;
    }
    const group = svg("g", { class: "step" });
    group.append(svg("text", { class: "when", x: 40, y: y + 4, "text-anchor": "end" }, elapsed(step[0])));
    if (step[1] === "sent" || step[1] === "received") {
      drawMessage(group, step, y, ownX, peerX(step[3]));
      if (step[5]) makeReadable(group, call, step, number);
    } else {
      group.classList.add("note", step[1]);
      group.append(
        svg("circle", { cx: ownX, cy: y, r: 5 }),
        svg("text", { x: ownX + (outgoing ? 12 : -12), y: y + 4, "text-anchor": outgoing ? "start" : "end" },
          cut(step[2], 44)),
      );
    }
    element.append(group);
  });
  if (media) drawMedia(element, call, TOP + ROW * rows.length + 14, ownX, peerX(0));
}

function elapsed(ms) {
  return ms < 1000 ? `${ms} ms` : `${(ms / 1000).toFixed(ms < 10000 ? 1 : 0)} s`;
}

function drawMessage(group, step, y, ownX, peerX) {
  const from = step[1] === "sent" ? ownX : peerX;
  const to = step[1] === "sent" ? peerX : ownX;
  const way = Math.sign(to - from);
  const middle = (from + to) / 2;
  const text = cut(step[2] + (step[4] > 1 ? `  \u00d7${step[4]}` : ""), 34);
  if (/^[3-6][0-9][0-9]/.test(step[2])) group.classList.add("refused");
  const half = text.length * 3.3 + 7;
  group.append(
    svg("line", { class: "line", x1: from, x2: to - way * 7, y1: y, y2: y }),
    svg("path", { class: "head", d: `M${to} ${y}l${-way * 9} -4.5v9z` }),
    svg("rect", { class: "paper", x: middle - half, y: y - 9, width: 2 * half, height: 18 }),
    svg("text", { x: middle, y: y + 4, "text-anchor": "middle" }, text),
  );
}

function drawMedia(element, call, y, ownX, peerX) {
  const gap = peerX < ownX ? 8 : -8;
  const flows = [
    [peerX + gap, ownX - gap, "receiving", call.received, y],
    [ownX - gap, peerX + gap, "sending", call.sent, y + ROW],
  ];
  const group = svg("g", { class: "media" });
  for (const [from, to, name, rate, at] of flows) {
    const proof = call.verdict ? call.verdict[name].proof : "";
    const runs = rate && rate[0] > 0;
    const tone = proof === "contradicted" ? "fails" : !runs ? "" : proof === "proven" ? "runs" : "plain";
    group.append(
      svg("line", { class: `rtp ${tone}`, x1: from, x2: to, y1: at, y2: at }),
      svg("path", { class: `tip ${tone}`, d: `M${to} ${at}l${-9 * Math.sign(to - from)} -4.5v9z` }),
      svg("rect", { class: "paper", x: (from + to) / 2 - 44, y: at - 8, width: 88, height: 16 }),
      svg("text", { x: (from + to) / 2, y: at + 4, "text-anchor": "middle" },
        `RTP  ${rate ? Math.round(rate[0]) : 0} per s`),
      svg("text", { class: "when", x: 40, y: at + 4, "text-anchor": "end" }, "now"),
    );
  }
  element.append(group);
}

function makeReadable(group, call, step, number) {
  group.setAttribute("role", "button");
  group.setAttribute("tabindex", "0");
  group.append(svg("title", {}, "Show the message"));
  const show = () => showMessage(call.session, number, step[2]);
  group.addEventListener("click", show);
  group.addEventListener("keydown", (event) => {
    if (event.key === "Enter") show();
  });
}

async function showMessage(session, number, title) {
  const query = new URLSearchParams({ session, number });
  const response = await fetch(`message?${query}`);
  byId("message-title").textContent = title;
  byId("message-text").textContent = await response.text();
  byId("message").showModal();
}

// --- one call

const STATES = {
  calling: "calling", good: "audio both ways", plain: "in progress", fault: "fault", ended: "ended",
  failed: "failed",
};
const PLOTS = [
  ["Loss", 1, percent, 0, 0.05, (value) => value > 0.03],
  ["Jitter", 2, milliseconds, 0, 40, (value) => value > 40],
  ["Level", 3, level, -60, 0, () => false],
];

function stateText(call) {
  const judgement = call.verdict && call.verdict.judgement;
  if (call.state === "fault" || call.state === "good") return words(judgement || "");
  if (call.state === "plain" && judgement !== "not_yet") return words(judgement || "");
  return STATES[call.state];
}

function makeCard(session) {
  const card = clone("call");
  card.id = `call-${session}`;
  card.querySelector(".summary").addEventListener("click", () => open(session, null));
  for (const flow of card.querySelectorAll(".plots")) {
    for (const [label] of PLOTS) {
      const made = clone("plot");
      made.querySelector(".label").textContent = label;
      flow.append(made);
    }
  }
  return card;
}

function open(session, wanted) {
  const held = calls.get(session);
  const body = held.card.querySelector(".body");
  if (wanted === null) held.chosen = body.hidden;
  body.hidden = !(wanted === null ? held.chosen : wanted);
  held.card.querySelector(".summary").setAttribute("aria-expanded", String(!body.hidden));
  if (!body.hidden) showBody(held);
}

function showParty(element, party) {
  element.querySelector(".name").textContent = party.name;
  element.querySelector(".uri").textContent = party.uri;
  element.querySelector(".uri").title = party.uri;
}

function showSummary({ call, card }) {
  card.dataset.state = call.state;
  showParty(card.querySelector(".from"), call.from);
  showParty(card.querySelector(".to"), call.to);
  card.querySelector(".role").textContent = call.role === "UAS" ? "incoming" : "outgoing";
  card.querySelector(".codec").textContent = call.media ? call.media.codec.split("/")[0] : "";
  card.querySelector(".pill").textContent = stateText(call);
}

function showTime({ call, card }, now) {
  const since = call.answered === null ? 0 : call.answered;
  const until = call.ended === null ? now - call.begun : call.ended;
  card.querySelector(".lasted").textContent = clock(until - since);
}

function showBody(held) {
  const { call, card } = held;
  const verdict = call.verdict;
  card.querySelector(".judgement").textContent = verdict ? verdict.text : "";
  const cause = verdict && verdict.cause;
  card.querySelector(".cause").textContent = cause ? `Most likely: ${cause}.` : "";
  card.querySelector(".verdict").hidden = !verdict;
  const remedy = verdict && verdict.remedy;
  card.querySelector(".remedy").hidden = !remedy;
  card.querySelector(".remedy span").textContent = remedy || "";
  for (const [name, finding] of [["received", "receiving"], ["sent", "sending"]]) {
    const flow = card.querySelector(`.flow.${name}`);
    const found = verdict ? verdict[finding] : { proof: "", text: "" };
    flow.querySelector(".proof").textContent = found.proof;
    flow.querySelector(".proof").dataset.proof = found.proof;
    flow.querySelector(".finding").textContent = found.text;
  }
  showFindings(held);
  card.querySelector(".flows").hidden = !call.media;
  showDetails(card.querySelector(".details"), call);
  drawLadder(call, card);
  showPlots(held);
}

function showFindings({ call, card }) {
  if (!call.findings) return;
  card.querySelector(".flow.received .finding").textContent = call.findings[0];
  card.querySelector(".flow.sent .finding").textContent = call.findings[1];
}

function showDetails(element, call) {
  const media = call.media || {};
  const rows = [
    ["Media", media.codec && `${media.codec}, ${media.direction}, ${media.ptime} ms, ${media.state}`],
    ["From here", media.local],
    ["To", media.remote],
    ["Round trip", known(call.round_trip) ? milliseconds(call.round_trip) : ""],
    ["Call-ID", call.call_id],
    ["Ended", call.ended === null ? "" : call.reason],
  ];
  element.replaceChildren();
  for (const [name, value] of rows) {
    if (!value) continue;
    const term = document.createElement("dt"), text = document.createElement("dd");
    term.textContent = name;
    text.textContent = value;
    element.append(term, text);
  }
}

function showPlots({ card, series }) {
  ["received", "sent"].forEach((name, way) => {
    const figures = card.querySelectorAll(`.flow.${name} .plot`);
    PLOTS.forEach(([, place, text, low, high, isHigh], index) => {
      const values = series.map((sample) => sample[way][place]);
      const last = values.length ? values[values.length - 1] : null;
      const figure = figures[index];
      const top = low < 0 ? high : Math.max(high, ...values.filter(known));
      figure.querySelector(".value").textContent = text(last);
      mark(figure, "high", known(last) && isHigh(last));
      plot(figure.querySelector(".spark"), values, low, top);
    });
  });
}

// --- what the server sends

function take(call) {
  let held = calls.get(call.session);
  if (!held) {
    held = { call, card: makeCard(call.session), series: [], chosen: null };
    calls.set(call.session, held);
  }
  held.call = { ...held.call, ...call };
  if (call.series) held.series = call.series;
  held.stale = true;
}

function takeNumbers(session, numbers) {
  const held = calls.get(session);
  if (!held || !numbers.received) return;
  Object.assign(held.call, numbers);
  held.series.push([numbers.received, numbers.sent]);
  held.series.splice(0, held.series.length - SAMPLES);
  held.counted = true;
}

function drop(session) {
  const held = calls.get(session);
  if (!held) return;
  held.card.remove();
  calls.delete(session);
}

function arrange(into, wanted) {
  let next = into.firstElementChild;
  for (const { card } of wanted) {
    if (card === next) next = next.nextElementSibling;
    else into.insertBefore(card, next);
  }
}

function show(snapshot) {
  showHealth(snapshot.health);
  const all = [...calls.values()];
  const newest = (a, b) => b.call.begun - a.call.begun;
  const worst = (a, b) => (b.call.state === "fault") - (a.call.state === "fault");
  const live = all.filter(({ call }) => call.ended === null).sort((a, b) => worst(a, b) || newest(a, b));
  const over = all.filter(({ call }) => call.ended !== null).sort(newest);
  arrange(byId("live"), live);
  arrange(byId("over"), over);
  const few = live.length <= 4;
  for (const held of all) {
    const { call } = held;
    if (held.stale) showSummary(held);
    showTime(held, snapshot.t);
    const isOver = call.ended !== null;
    // What was opened or closed by hand stays so; what ends stays as it is.
    const wanted = held.chosen ?? (isOver ? !held.card.querySelector(".body").hidden
      : few || call.state === "fault");
    if (wanted === held.card.querySelector(".body").hidden) open(call.session, wanted);
    else if (wanted && held.stale) showBody(held);
    else if (wanted && held.counted) {
      drawLadder(call, held.card);
      showFindings(held);
      showPlots(held);
    }
    held.stale = held.counted = false;
  }
  byId("none").hidden = live.length > 0;
  byId("past").hidden = over.length === 0;
  const more = snapshot.more ? `, ${grouped(snapshot.more)} more are up` : "";
  byId("count").textContent = live.length ? `${live.length} shown${more}` : "";
}

function connect() {
  const events = new EventSource("events");
  events.addEventListener("full", ({ data }) => {
    const snapshot = JSON.parse(data);
    const there = new Set(snapshot.calls.map((call) => call.session));
    for (const session of [...calls.keys()]) if (!there.has(session)) drop(session);
    snapshot.calls.forEach(take);
    byId("name").textContent = snapshot.server.name;
    byId("listens").textContent = snapshot.server.listens.join("  ");
    document.title = `sessioncore ${snapshot.server.listens[0] || ""}`;
    show(snapshot);
  });
  events.addEventListener("changes", ({ data }) => {
    const snapshot = JSON.parse(data);
    snapshot.changed.forEach(take);
    Object.entries(snapshot.numbers).forEach(([session, numbers]) => takeNumbers(session, numbers));
    snapshot.gone.forEach(drop);
    show(snapshot);
  });
  events.addEventListener("open", () => link("live", "live"));
  events.addEventListener("error", () => link("lost", "connection lost, trying again"));
}

function link(state, text) {
  byId("link").dataset.state = state;
  byId("link-text").textContent = text;
}

// The token has become a cookie: it need not stay in the address, the history and screenshots.
if (location.search) history.replaceState(null, "", location.pathname);
connect();
