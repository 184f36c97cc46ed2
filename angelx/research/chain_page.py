"""The chain as one HTML page that needs nothing else: smile, open interest and its change, term structure, strikes."""

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from angelx.adapters.state_dir import durable_write
from angelx.research.report_format import DASH, MINUS, Formats, clean, strike_text
from angelx.research.report_style import STYLE
from angelx.research.session_records import local_time

DAYS: Final = 365.0
CHARTS: Final = (
    ("smile", "Smile", "Implied volatility by strike: calls and puts, the out-of-the-money side filled."),
    ("oi", "Open interest", "Lots by strike; max pain and walls are marked where they are shown."),
    ("change", "Change of open interest", "Lots gained or lost in the window of the flow, by strike."),
    ("flow", "Flow by class", "What the changes were: who was in a hurry, lots of all strikes of the expiry."),
    ("term", "Term structure", "Volatility at the money by days to expiry."),
)


def page_name(data: dict[str, Any], zone: ZoneInfo) -> str:
    """`chain-NIFTY-2025-08-29T110000.html`: of which underlying, at which local time."""
    underlying = data["underlying"].rpartition(":")[2]
    return f"chain-{underlying}-{local_time(data['at'], zone):%Y-%m-%dT%H%M%S}.html"


def write_page(data: dict[str, Any], zone: ZoneInfo, path: Path) -> Path:
    """Write the page of a picture (`angelx.research.chain_picture`), complete or not at all; answers `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    library = (files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8")
    durable_write(path, page_of(data, Formats("", zone), library).encode())
    return path


def page_of(data: dict[str, Any], formats: Formats, plotly_js: str) -> str:
    """The whole page; `plotly_js` is inlined so that it opens from disk without a network."""
    title = f"{data['underlying']} {data['expiry']}"
    charts = "".join(
        f'<section><h2>{name}</h2><p>{words}</p><div class="chart" id="{place}"></div></section>'
        for place, name, words in CHARTS
    )
    body = (
        f"<header><h1>{clean(title)}</h1><p>{clean(formats.stamp(data['at']))} {clean(str(formats.zone))}, "
        f"{data['years'] * DAYS:.2f} days to settlement</p></header>"
        f"{_cards(data)}{charts}{_table(data)}{_about(data, formats)}"
    )
    shown = msgspec.json.encode(data).decode().replace("<", "\\u003c")
    library = plotly_js.replace("</script", "<\\/script")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{clean(title)}</title>\n<style>{STYLE}{MORE_STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n"
        f'<script type="application/json" id="data">{shown}</script>\n'
        f"<script>{library}</script>\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def _cards(data: dict[str, Any]) -> str:
    view = data["view"]
    walls = f"walls {strike_text(view['put_wall'])} · {strike_text(view['call_wall'])}"
    trap = f"{_plain(view['trap_up'], 2)} up · {_plain(view['trap_down'], 2)} down"
    cards = [
        ("Forward", _plain(data["forward"], 2), f"{data['forward_reason']} · discount {_plain(data['discount'], 5)}"),
        ("Spot", _plain(data["spot"], 2), "" if data["spot"] else "missing, old, or undefined now"),
        ("ATM IV", _plain(data["atm_iv"], 2, 100, " %"), f"skew {_plain(data['skew'], 2, 100)} points"),
        ("Put-call ratio", _plain(view["pcr_oi"], 2), f"by volume {_plain(view['pcr_volume'], 2)}"),
        ("Max pain", strike_text(view["max_pain"]), walls),
        ("Bias", _signed(view["bias"], 3), f"strength {_plain(view['bias_strength'], 2)} · {view['regime']}"),
        ("Trap probability", _plain(view["trap_up"], 2), trap),
        (
            "IV rank",
            _plain(view["iv_rank"], 2),
            f"of {view['sessions']} sessions · noise {_plain(view['iv_noise'], 2)}",
        ),
    ]
    return '<div class="cards four">' + "".join(
        f'<div class="card"><div class="name">{name}</div><div class="value">{value}</div>'
        f'<div class="more">{clean(more)}</div></div>'
        for name, value, more in cards
    ) + "</div>"  # fmt: skip


COLUMNS: Final = ("OI", "change", "IV", "delta", "bid", "ask")


def _table(data: dict[str, Any]) -> str:
    heads = "".join(f'<th class="n">{name}</th>' for name in (*COLUMNS, "strike", *reversed(COLUMNS)))
    rows = "".join(_row(one, one["strike"] == data["atm_strike"]) for one in data["strikes"])
    return (
        "<section><h2>Strikes</h2><p>Calls left, puts right; open interest in lots, IV in percent. "
        "What is undefined says why when pointed at.</p>"
        f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div></section>'
    )


def _row(one: dict[str, Any], money: bool) -> str:
    calls, puts = list(_cells(one["call"])), list(_cells(one["put"]))
    strike = f'<td class="n"><b>{strike_text(one["strike"])}</b></td>'
    return f"<tr{' class=money' if money else ''}>{''.join(calls)}{strike}{''.join(reversed(puts))}</tr>"


def _cells(leg: dict[str, Any] | None) -> Iterator[str]:
    if leg is None:
        yield from [f'<td class="n">{DASH}</td>'] * len(COLUMNS)
        return
    why = "" if leg["reason"] == "defined" else f' title="{clean(leg["reason"])}"'
    for text in (
        f"{leg['oi']:,.0f}", _signed(leg["oi_change"], 0), _plain(leg["iv"], 2, 100), _plain(leg["delta"], 3),
        _plain(leg["bid"], 2), _plain(leg["ask"], 2),
    ):  # fmt: skip
        yield f'<td class="n"{why}>{text}</td>'


def _about(data: dict[str, Any], formats: Formats) -> str:
    bad = ", ".join(f"{why} {count:,}" for why, count in sorted(data["bad_input"].items())) or "nothing"
    facts = {
        "rows": f"{data['rows']:,}",
        "last row": formats.stamp(data["last_row_at"]),
        "not used": bad,
        "settles": f"{formats.stamp(data['settles_at'])} {data['settlement_note']}",
        "flows since": formats.stamp(data["view"]["flow_since"]),
    }
    lines = "".join(f"<dt>{clean(key)}</dt><dd>{clean(value)}</dd>" for key, value in facts.items())
    return f'<section><h2>About this picture</h2><dl class="facts">{lines}</dl></section>'


def _plain(value: float | None, places: int, times: float = 1.0, unit: str = "") -> str:
    return DASH if value is None else f"{times * value:,.{places}f}{unit}"


def _signed(value: float | None, places: int) -> str:
    return DASH if value is None else f"{value:+,.{places}f}".replace("-", MINUS)


MORE_STYLE: Final = """
.cards.four { grid-template-columns: repeat(4, minmax(0, 1fr)); }
tr.money td { background: color-mix(in srgb, var(--accent) 14%, transparent); }
@media (max-width: 760px) { .cards.four { grid-template-columns: repeat(2, minmax(0, 1fr)); } }
"""

SCRIPT: Final = """
"use strict";
(() => {
const data = JSON.parse(document.getElementById("data").textContent);
const narrow = () => window.innerWidth < 760;
const ink = name => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
const touch = matchMedia("(pointer: coarse)").matches;
const strikes = data.strikes.map(one => one.strike);
const legs = side => data.strikes.map(one => one[side]);
const money = data.forward || data.spot || strikes[Math.floor(strikes.length / 2)];
// What lies farther out than the volatility reaches in this life, only makes the middle small.
const step = strikes[1] - strikes[0] || 1, deviation = (data.atm_iv || .2) * Math.sqrt(Math.max(data.years, .002));
const reach = Math.max(4.5 * deviation * money, 6 * step);
const range = [Math.max(money - reach, strikes[0]), Math.min(money + reach, strikes[strikes.length - 1])];
const near = strikes.map(strike => strike >= range[0] && strike <= range[1]);
const inside = list => list.filter((value, place) => near[place]);
const x = inside(strikes);

function layout(more) {
  const axis = { gridcolor: ink("line"), zerolinecolor: ink("line"), linecolor: ink("line"), automargin: true,
    tickfont: { color: ink("soft"), size: 11 }, fixedrange: touch };
  const base = { paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", dragmode: touch ? false : "zoom",
    font: { family: getComputedStyle(document.body).fontFamily, color: ink("ink"), size: 12 },
    height: narrow() ? 300 : 360, margin: { l: narrow() ? 44 : 64, r: 14, t: 34, b: 34 }, showlegend: true,
    hovermode: "x unified", barmode: "group", bargap: .25,
    hoverlabel: { bgcolor: ink("card"), bordercolor: ink("line"), font: { color: ink("ink") } },
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0, font: { color: ink("soft") } } };
  const all = Object.assign(base, more);
  for (const key of ["xaxis", "yaxis"]) all[key] = Object.assign({}, axis, all[key] || {});
  return all;
}
function draw(id, traces, more) {
  Plotly.react(document.getElementById(id), traces, layout(more || {}), { responsive: true, displayModeBar: false });
}
function line(at, text, colour) {
  return { shape: { type: "line", x0: at, x1: at, y0: 0, y1: 1, yref: "paper",
      line: { color: ink(colour), width: 1.2, dash: "dot" } },
    note: { x: at, y: 1, yref: "paper", yanchor: "top", xanchor: "left", text: text, showarrow: false,
      bgcolor: ink("card"), opacity: .85, borderpad: 1, font: { color: ink(colour), size: 11 } } };
}
function marked(lines) {
  const shown = lines.filter(one => one.shape.x0 >= range[0] && one.shape.x0 <= range[1]);
  return { shapes: shown.map(one => one.shape),
    annotations: shown.map((one, place) => Object.assign(one.note, { yshift: -16 * place })) };
}
const forward = () => data.forward ? [line(data.forward, "forward", "soft")] : [];
function smile() {
  const side = (name, sign, colour) => {
    const all = inside(legs(name));
    return { x: x, y: all.map(leg => leg && leg.iv !== null ? 100 * leg.iv : null), name: name + "s", type: "scatter",
      mode: "lines+markers", connectgaps: false, line: { color: ink(colour), width: 1.4 },
      marker: { size: 6, color: x.map(strike => sign * (strike - money) >= 0 ? ink(colour) : ink("card")),
        line: { color: ink(colour), width: 1.2 } },
      hovertemplate: "%{y:.2f} %<extra>" + name + "</extra>" };
  };
  draw("smile", [side("call", 1, "good"), side("put", -1, "bad")],
    Object.assign({ xaxis: { range: range, tickformat: ",.0f" }, yaxis: { ticksuffix: " %" } }, marked(forward())));
}
function bars(id, field, lines) {
  const side = (name, colour) => ({ x: x, y: inside(legs(name)).map(leg => leg ? leg[field] : null), name: name + "s",
    type: "bar", marker: { color: ink(colour) }, hovertemplate: "%{y:,.0f} lots<extra>" + name + "s</extra>" });
  draw(id, [side("call", "good"), side("put", "bad")],
    Object.assign({ xaxis: { range: range, tickformat: ",.0f" }, yaxis: { tickformat: ",.2s" } }, marked(lines)));
}
function flow() {
  const kinds = ["long_build_up", "short_build_up", "long_unwinding", "short_covering"];
  const names = ["long build-up", "short build-up", "long unwinding", "short covering"];
  const side = (name, colour) => ({ x: names, y: kinds.map(kind => data.view[name + "_flow"][kind]), name: name + "s",
    type: "bar", marker: { color: ink(colour) }, hovertemplate: "%{y:,.0f} lots<extra>" + name + "s</extra>" });
  draw("flow", [side("call", "good"), side("put", "bad")], { yaxis: { tickformat: ",.2s" } });
}
function term() {
  const known = data.expiries.filter(one => one.atm_iv !== null);
  draw("term", [{ x: known.map(one => 365 * one.years), y: known.map(one => 100 * one.atm_iv), name: "at the money",
    text: known.map(one => one.expiry), type: "scatter", mode: "lines+markers",
    line: { color: ink("accent"), width: 1.6 },
    marker: { size: known.map(one => one.expiry === data.expiry ? 11 : 6) },
    hovertemplate: "%{text}<br>%{y:.2f} %<extra></extra>" }],
    { showlegend: false, hovermode: "closest", xaxis: { type: "log", title: { text: "days", font: { size: 11 } },
      tickvals: [.5, 1, 2, 5, 10, 30, 90, 180, 365, 730, 1825] },
      yaxis: { ticksuffix: " %" } });
}
function all() {
  const view = data.view;
  const named = [["max_pain", "max pain", "warn"], ["call_wall", "call wall", "good"], ["put_wall", "put wall", "bad"]];
  const levels = named.filter(one => view[one[0]]).map(one => line(view[one[0]], one[1], one[2]));
  smile();
  bars("oi", "oi", forward().concat(levels));
  bars("change", "oi_change", forward());
  flow();
  term();
}
all();
const row = document.querySelector("tr.money"), box = row && row.closest(".scroll");
if (box) box.scrollTop = row.offsetTop - box.clientHeight / 2;
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", all);
})();
"""
