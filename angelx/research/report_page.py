"""The report as one HTML file that needs nothing else."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from angelx.research.report_cells import count_text, nothing, plural, signed_text, tone_of
from angelx.research.report_figures import Figures
from angelx.research.report_format import DASH, Formats, clean, percent, span
from angelx.research.report_learning import forecasts_section, quality_section
from angelx.research.report_script import SCRIPT
from angelx.research.report_style import STYLE
from angelx.research.report_tables import (
    exits_section,
    group_section,
    incidents_section,
    latency_section,
    orders_section,
    positions_section,
    refusals_section,
    trips_section,
)

if TYPE_CHECKING:
    from angelx.research.session_facts import SessionFacts


def page_of(
    facts: "SessionFacts", figures: Figures, charts: Mapping[str, Any], formats: Formats, plotly_js: str
) -> str:
    """The whole page; `plotly_js` is inlined so that it opens from disk without a network."""
    sections = [
        _header(figures, formats),
        _cards(facts, figures, formats),
        _untraded(figures),
        _funnel(figures),
        _curves(facts, charts),
        _pair(refusals_section(figures), latency_section(figures)),
    ]
    if facts.fills:
        sections += [
            _pair(
                group_section("P&L by hour", "hour", "hours", figures.by_hour, formats),
                group_section("P&L by strategy", "strategy", "strategies", figures.by_strategy, formats),
            ),
            _pair(exits_section(figures, formats), positions_section(figures, formats)),
            trips_section(facts, formats),
        ]
    sections += [
        quality_section(figures),
        forecasts_section(figures),
        orders_section(facts, formats),
        incidents_section(figures, formats),
        _checks(figures),
        _about(figures, charts, formats),
    ]
    body = "\n".join(sections)
    # `<` cannot begin a tag inside the data, nor `</script` inside the library.
    data = msgspec.json.encode(charts).decode().replace("<", "\\u003c")
    library = plotly_js.replace("</script", "<\\/script")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{clean(figures.title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n"
        f'<script type="application/json" id="data">{data}</script>\n'
        f"<script>{library}</script>\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


# ---------------------------------------------------------------- the top
def _header(figures: Figures, formats: Formats) -> str:
    session = figures.session
    parts = [session["mode"], ", ".join(source["source"] for source in session["sources"])]
    if session["first_at"]:
        first, last = formats.stamp(session["first_at"]), formats.stamp(session["last_at"])
        last = last[11:] if first[:10] == last[:10] else last
        parts.append(f"{first} to {last} {session['zone']} ({span(session['last_at'] - session['first_at'])})")
    return f"<header><h1>{clean(figures.title)}</h1><p>{clean(' · '.join(part for part in parts if part))}</p></header>"


def _card(name: str, value: str, more: str = "", tone: str = "", *, wide: bool = False) -> str:
    long = " long" if len(value) > (13 if wide else 11) else ""
    return (
        f'<div class="card{" wide" if wide else ""}{long}"><div class="name">{name}</div>'
        f'<div class="value {tone}">{value}</div><div class="more">{more}</div></div>'
    )


def _cards(facts: "SessionFacts", figures: Figures, formats: Formats) -> str:
    summary, money = figures.summary, formats.money
    drawdown, wins = facts.drawdown(), summary["win_rate_interval"]
    share = (
        f"{signed_text(100 * facts.pnl / facts.capital, 2)} % of {money(facts.capital)}<br>" if facts.capital else ""
    )
    unmarked = ": positions not valued since the last fill" if facts.unrealised is None else ""
    speed = summary.get("ticks_per_s")
    state = facts.health or "not reported"
    failed = sum(not check.ok for check in figures.checks)
    worst = facts.level if facts.level != "running" else state
    return (
        '<div class="cards">'
        + _card(
            "Profit and loss, net of fees",
            money(facts.pnl, signed=True),
            f"{share}{money(facts.ledger.realised, signed=True)} realised<br>"
            f"{money(facts.unrealised, signed=True)} open{unmarked}",
            tone_of(facts.pnl),
            wide=True,
        )
        + _card(
            "Win rate",
            percent(summary["win_rate"]),
            f"{100 * wins[0]:.0f} to {100 * wins[1]:.0f} % (95 %)" if wins else "no round trip decided",
        )
        + _card(
            "Round trips",
            f"{summary['trades']:,}",
            f"{summary['wins']:,} won · {summary['losses']:,} lost"
            + (f" · {summary['open_trades']:,} open" if summary["open_trades"] else ""),
        )
        + _card(
            "Deepest drawdown",
            money(drawdown.amount),
            f"{percent(drawdown.fraction)} of the peak",
            "bad" if drawdown.amount else "",
        )
        + _card(
            "Fees",
            money(facts.ledger.fees),
            f"slippage {money(facts.slippage, signed=True)}"
            + (f" ({signed_text(summary['slippage_bps'], 1)} bps)" if summary["slippage_bps"] is not None else ""),
        )
        + _card(
            "Orders", f"{summary['orders']:,}", f"{summary['fills']:,} fills · {percent(summary['fill_rate'])} filled"
        )
        + _card(
            "Signals refused",
            f"{summary['refused']:,}",
            f"most often {clean(figures.refusals[0]['code'])}" if figures.refusals else f"of {summary['signals']:,}",
        )
        + _card("Ticks per second", count_text(speed), f"{count_text(summary['ticks'])} ticks")
        + _card(
            "Health",
            clean(worst),
            f"{plural(len(figures.incidents), 'incident')} · {plural(failed, 'check')} failed",
            {"healthy": "good", "not reported": "soft"}.get(worst, "warn"),
        )
        + "</div>"
    )


def _untraded(figures: Figures) -> str:
    """Why nothing was traded, and what strategies chose: what a person asks first."""
    chosen = "".join(f"<p>{clean(name)} {clean(about)}.</p>" for name, about in figures.summary["chosen"].items())
    items = "".join(f"<li>{clean(why)}</li>" for why in figures.summary["untraded"])
    if not items:
        return f"<section>{chosen}</section>" if chosen else ""
    return f"<section><h2>Why nothing was traded</h2>{chosen}<ul>{items}</ul></section>"


def _funnel(figures: Figures) -> str:
    summary = figures.summary
    steps = [("signals", summary["signals"]), ("refused", summary["refused"]), ("acted on", summary["acted_on"])]
    steps += [("orders", summary["orders"]), ("filled", summary["order_states"].get("filled", 0))]
    most = max(count for _, count in steps)
    if not most:
        return nothing("From signal to fill", "No strategy sent a signal in this session.")
    colour = {"refused": "var(--soft)", "filled": "var(--good)"}
    rows = "".join(
        f'<div><span>{name}</span><span class="bar"><i style="width:{78 * count / most:.2f}%;'
        f'background:{colour.get(name, "var(--accent)")}"></i><b>{count:,}</b></span></div>'
        for name, count in steps
    )
    acted = percent(summary["acted_on"] / summary["signals"]) if summary["signals"] else DASH
    return (
        f"<section><h2>From signal to fill</h2><p>{acted} of the signals were acted on.</p>"
        f'<div class="funnel">{rows}</div></section>'
    )


# ---------------------------------------------------------------- pictures
def _curves(facts: "SessionFacts", charts: Mapping[str, Any]) -> str:
    source = "Every valuation of the book" if facts.marks else "Capital plus realised profit: nothing was valued"
    equity = _chart_section(
        "Equity and drawdown",
        f"{source}, and how far it stood below its highest point.",
        "equity",
        charts["equity"]["t"],
    )
    if charts["reference"]:
        legend = "Fills and unfilled orders, on the days that had any; without a spot the price is the forward."
        reference = _chart_section("Orders on the reference price", legend, "reference", charts["reference"]["t"])
    else:
        reference = ""
    if not charts["instruments"]:
        return equity + reference
    options = "".join(f"<option>{clean(chart['name'])}</option>" for chart in charts["instruments"])
    one = (
        "<section><h2>One instrument</h2><p>Its fills by price and time; the most traded first.</p>"
        f'<select id="choice" aria-label="Instrument">{options}</select> <span class="note" id="chosen"></span>'
        '<div class="chart" id="instrument"></div></section>'
    )
    return equity + reference + one


def _chart_section(title: str, words: str, chart: str, data: Sequence[object]) -> str:
    if not data:
        return nothing(title, "Nothing to draw.")
    return f'<section><h2>{clean(title)}</h2><p>{words}</p><div class="chart" id="{chart}"></div></section>'


def _pair(left: str, right: str) -> str:
    return f'<div class="two">{left}{right}</div>'


def _checks(figures: Figures) -> str:
    items = "".join(
        f'<li><span class="{"good" if check.ok else "bad"}">{"✓" if check.ok else "✗"}</span>'
        f"<span>{clean(check.name)}<small>{clean(check.detail)}</small></span></li>"
        for check in figures.checks
    )
    return f'<section><h2>What was checked</h2><ul class="checks">{items}</ul></section>'


def _about(figures: Figures, charts: Mapping[str, Any], formats: Formats) -> str:
    session = figures.session
    facts = {
        "run": session["run"],
        "angelx": session["version"],
        "seed": session["seed"],
        "configuration": session["config_hash"],
        "source": ", ".join(f"{source['source']} {source['digest'][:16]}" for source in session["sources"]),
        "journal": session["journal"],
        "starts": session["starts"] if session["starts"] > 1 else "",
        "broker's books read": session["books_read"] or "",
        **figures.other,
    }
    lines = "".join(
        f"<dt>{clean(key)}</dt><dd>{clean(value)}</dd>" for key, value in facts.items() if value not in {"", None}
    )
    drawn = (
        f"<p>Pictures are thinned, figures are exact: {clean('; '.join(charts['notes']))}.</p>"
        if charts["notes"]
        else ""
    )
    return (
        f'<section><h2>About this session</h2>{drawn}<dl class="facts">{lines}</dl></section>'
        f"<footer>Times are {clean(session['zone'])}. Money is counted to 1/10,000 and shown to 0.01; the JSON file "
        "beside this page has it exactly, and every row of the tables. Drag over a chart to zoom, double-click to go "
        "back.</footer>"
    )
