"""How the report's charts are drawn: colours from the style sheet, drawn again when light turns to dark."""

from typing import Final

SCRIPT: Final = """
"use strict";
(() => {
const data = JSON.parse(document.getElementById("data").textContent);
const narrow = () => window.innerWidth < 760;
const ink = name => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
const touch = matchMedia("(pointer: coarse)").matches;
const options = { responsive: true, displayModeBar: false };
const clock = list => list.map(t => new Date(t).toISOString().slice(0, -1));
// Nights and closed days are cut out: each session is named where it begins, as many as fit.
function dates(first, last, gaps) {
  gaps = gaps.filter(gap => gap[0] < last && gap[1] > first);
  const axis = { type: "date", hoverformat: "%Y-%m-%d %H:%M:%S" };
  if (!gaps.length) return axis;
  const begins = [first].concat(gaps.map(gap => gap[1] + 1000));
  const step = Math.ceil(begins.length / (narrow() ? 4 : 9));
  const named = begins.filter((t, place) => place % step === 0);
  return Object.assign(axis, { rangebreaks: gaps.map(gap => ({ bounds: clock(gap) })), tickmode: "array",
    tickvals: clock(named), ticktext: clock(named).map(text => text.slice(0, 10)) });
}
const whole = list => dates(list[0], list[list.length - 1], data.breaks);
function nights(list) {
  const gaps = [];
  for (let place = 1; place < list.length; place++)
    if (list[place] - list[place - 1] > 7200000) gaps.push([list[place - 1] + 1000, list[place] - 1000]);
  return gaps.length > 300 ? [] : gaps;
}

function layout(more) {
  const axis = { gridcolor: ink("line"), zerolinecolor: ink("line"), linecolor: ink("line"), automargin: true,
    tickfont: { color: ink("soft"), size: 11 }, fixedrange: touch };
  const base = { paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", dragmode: touch ? false : "zoom",
    font: { family: getComputedStyle(document.body).fontFamily, color: ink("ink"), size: 12 },
    margin: { l: narrow() ? 44 : 64, r: 14, t: 10, b: 34 }, showlegend: false, hovermode: "x unified",
    hoverlabel: { bgcolor: ink("card"), bordercolor: ink("line"), font: { color: ink("ink") } },
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0, font: { color: ink("soft") } } };
  const all = Object.assign(base, more);
  for (const key of Object.keys(all).filter(key => /^[xy]axis/.test(key)).concat("xaxis", "yaxis"))
    all[key] = Object.assign({}, axis, all[key] || {});
  return all;
}
function draw(id, traces, more) {
  const place = document.getElementById(id);
  if (place) Plotly.react(place, traces, layout(more), options);
}
const money = data.sign;
// Whole units would name different heights of a nearly flat curve alike.
const decimals = list => Math.max(...list) - Math.min(...list) < 5 ? ",.2f" : ",.0f";

function equity() {
  const e = data.equity;
  if (!e.t.length) return;
  draw("equity", [
    { x: clock(e.t), y: e.v, type: "scatter", mode: "lines", name: "equity", line: { color: ink("accent"), width: 1.8 },
      hovertemplate: money + "%{y:,.2f}<extra>equity</extra>" },
    { x: clock(e.dt), y: e.dd, type: "scatter", mode: "lines", name: "below the peak", yaxis: "y2", fill: "tozeroy",
      line: { color: ink("bad"), width: 1 }, fillcolor: ink("bad-soft"),
      hovertemplate: money + "%{y:,.2f}<extra>below the peak</extra>" },
  ], { height: narrow() ? 320 : 380, yaxis: { domain: [.34, 1], tickformat: decimals(e.v) },
    yaxis2: { domain: [0, .26], tickformat: decimals(e.dd), nticks: 3, rangemode: "tozero" },
    xaxis: Object.assign({ anchor: "y2" }, whole(data.equity.t)) });
}
function marker(side, shape, colour, name, many) {
  return { x: clock(side.t), y: side.y, text: side.x, type: "scatter", mode: "markers", name: name,
    marker: { symbol: shape, size: many ? 4 : 8, color: ink(colour), opacity: many ? .6 : .85,
      line: /^x/.test(shape) ? { width: many ? 1 : 2.2, color: ink(colour) }
        : { width: many ? 0 : .6, color: ink("card") } },
    hovertemplate: "%{text}<extra></extra>" };
}
function reference() {
  const r = data.reference;
  if (!r) return;
  const many = r.sides.buy.t.length + r.sides.sell.t.length > 600;
  draw("reference", [
    { x: clock(r.t), y: r.v, type: "scatter", mode: "lines", name: "reference",
      line: { color: ink("soft"), width: 1.2 }, hovertemplate: "%{y:,.2f}<extra>reference</extra>" },
    marker(r.sides.none, "x-thin-open", "warn", "order never filled", many),
    marker(r.sides.buy, "triangle-up", "good", "buy filled", many),
    marker(r.sides.sell, "triangle-down", "bad", "sell filled", many),
  ], { height: narrow() ? 320 : 400, showlegend: true, hovermode: "closest",
    xaxis: dates(r.t[0], r.t[r.t.length - 1], nights(r.t)), yaxis: { tickformat: decimals(r.v) } });
}
function instrument() {
  const choice = document.getElementById("choice");
  if (!choice) return;
  const i = data.instruments[choice.selectedIndex];
  const side = (sign, name, shape, colour) => {
    const places = i.q.map((q, place) => place).filter(place => i.q[place] * sign > 0);
    return { x: clock(places.map(p => i.t[p])), y: places.map(p => i.p[p]), type: "scatter", mode: "markers",
      name: name, customdata: places.map(p => [Math.abs(i.q[p]), i.touch[p]]),
      marker: { symbol: shape, size: i.t.length > 300 ? 5 : 9, color: ink(colour), opacity: .8,
        line: { width: i.t.length > 300 ? 0 : .6, color: ink("card") } },
      hovertemplate: name + " %{customdata[0]:,} at %{y:,.2f}, touch %{customdata[1]:,.2f}<br>%{x|%H:%M:%S}" +
        "<extra></extra>" };
  };
  document.getElementById("chosen").textContent = i.fills.toLocaleString("en") + " fills" +
    (i.t.length < i.fills ? ", " + i.t.length.toLocaleString("en") + " of them drawn, evenly spread" : "");
  draw("instrument", [
    { x: clock(i.t), y: i.p, type: "scatter", mode: "lines", line: { color: ink("soft"), width: .8, dash: "dot" },
      name: "from fill to fill", hoverinfo: "skip" },
    side(1, "buy", "triangle-up", "good"), side(-1, "sell", "triangle-down", "bad"),
  ], { height: narrow() ? 300 : 340, showlegend: true, hovermode: "closest", xaxis: whole(i.t),
    yaxis: { tickformat: ",.2f" } });
}
function refusals() {
  const colours = { filter: "accent", sizing: "warn", gate: "bad", router: "soft" };
  const rows = data.refusals.slice(0, 16).reverse();
  if (!rows.length) return;
  draw("refusals", [{ type: "bar", orientation: "h", y: rows.map(r => r[1] + "\\u2002"), x: rows.map(r => r[2]),
    marker: { color: rows.map(r => ink(colours[r[0]] || "accent")) }, text: rows.map(r => r[2].toLocaleString("en")),
    textposition: "auto", cliponaxis: false, customdata: rows.map(r => r[0]),
    hovertemplate: "%{customdata}: %{y} %{x:,}<extra></extra>" }],
    { height: 70 + 28 * rows.length, hovermode: "closest", bargap: .3, margin: { l: 10, r: 20, t: 6, b: 30 },
      xaxis: { tickformat: ",d", nticks: 5 }, yaxis: { type: "category", showgrid: false } });
}
function bars(id, rows, height, sideways) {
  if (!rows.length) return;
  const names = rows.map(r => r[0]), values = rows.map(r => r[1]);
  const shape = sideways ? { orientation: "h", x: values, y: names } : { x: names, y: values };
  const label = money + (sideways ? "%{x:,.2f}" : "%{y:,.2f}");
  draw(id, [Object.assign({ type: "bar", marker: { color: values.map(v => ink(v < 0 ? "bad" : "good")) },
    hovertemplate: label + "<extra>%{" + (sideways ? "y" : "x") + "}</extra>" }, shape)],
    { height: height, bargap: .35, hovermode: "closest",
      [sideways ? "yaxis" : "xaxis"]: { type: "category", showgrid: false },
      [sideways ? "xaxis" : "yaxis"]: { tickformat: decimals([0].concat(values)), nticks: 6 } });
}
function latency() {
  const stages = Object.entries(data.latency).filter(([, rows]) => rows.length);
  if (!stages.length) return;
  const colours = ["accent", "good", "warn", "bad", "soft"];
  draw("latency", stages.map(([name, rows], k) => {
    const x = [], y = [];
    const total = rows.reduce((sum, r) => sum + r[2], 0);
    for (const [from, to, count] of rows) {
      const last = x[x.length - 1];
      if (last < from * .999) { x.push(last, from); y.push(0, 0); }  // Nothing took so long.
      x.push(from, to); y.push(count / total, count / total);
    }
    x.unshift(x[0]); y.unshift(0); x.push(x[x.length - 1]); y.push(0);
    return { x, y, type: "scatter", mode: "lines", name, fill: "tozeroy",
      line: { width: 1.4, color: ink(colours[k % 5]) }, fillcolor: ink(colours[k % 5]) + "22",
      hovertemplate: "%{y:.1%}<extra>%{fullData.name}</extra>" };
  }), { height: 300, showlegend: true, xaxis: { type: "log", title: { text: "µs", font: { size: 11 } }, dtick: 1,
    tickformat: "~g", hoverformat: ".3~g" }, yaxis: { tickformat: ".0%", rangemode: "tozero" } });
}
function all() {
  equity(); reference(); instrument(); refusals(); latency();
  bars("hours", data.hours, 260, false);
  bars("strategies", data.strategies.slice(0, 20).reverse(), 90 + 30 * Math.min(data.strategies.length, 20), true);
}
function sortable(table) {
  table.querySelectorAll("th").forEach((head, column) => head.addEventListener("click", () => {
    const order = head.dataset.order === "1" ? -1 : 1;
    table.querySelectorAll("th").forEach(other => delete other.dataset.order);
    head.dataset.order = order;
    const key = row => { const cell = row.cells[column]; return cell.dataset.v ?? cell.textContent; };
    const body = table.tBodies[0];
    [...body.rows].sort((a, b) => {
      const x = key(a), y = key(b), n = x - y;
      return order * (Number.isNaN(n) ? x.localeCompare(y) : n);
    }).forEach(row => body.append(row));
  }));
}
document.querySelectorAll("table").forEach(sortable);
document.getElementById("choice")?.addEventListener("change", instrument);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", all);
all();
})();
"""
