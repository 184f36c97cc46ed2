"""The wiring as a graph, made from what the services declare about themselves."""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from angelx.adapters.journal import MemoryJournal
from angelx.app.house import House, Paper, Parts, no_fee
from angelx.bus.bus import Bus
from angelx.bus.service import Handing, Service, consumes
from angelx.domain.instruments import Instrument, InstrumentTable, Kind
from angelx.domain.ticks import Rows
from angelx.market.chain import ChainSettings
from angelx.market.sessions import Sessions
from angelx.risk.limits import Limits
from angelx.services.broker_link import RecordedLink
from angelx.services.data_feed import DataFeed
from angelx.services.guard import Unguarded
from angelx.services.kill_switch import MemoryLatch

RECORDER: Final = "recorder"
ROWS: Final = Rows.__name__
SESSION: Final = "session"
"""The process itself: it publishes what it began with, and what the supervisor says."""
SESSION_EMITS: Final = ("SessionStarted", "SourceOpened", "IncidentReported")


class Arrow(msgspec.Struct, frozen=True, order=True):
    """One service publishes an event that another acts on, or hands it something (in plain words)."""

    source: str
    event: str
    target: str


def bare_house() -> House:
    """The house with one instrument and no strategy: enough to read its declarations."""
    table = InstrumentTable(
        [Instrument(id="NSE:X", symbol="X", segment="NSE", kind=Kind.EQUITY, currency="INR", tick_size=1)]
    )
    bus = Bus()
    parts = Parts(
        instruments=table, source_kind="stream", strategies=(), filters=(), limits=Limits(),
        paper=Paper(fee=no_fee), sessions=Sessions.load(), run="graph",
        capital=1, seed=0, chain=ChainSettings(),
    )  # fmt: skip
    return House(bus, parts, MemoryJournal(bus), MemoryLatch(), Unguarded())


def emitters(services: Sequence[Service]) -> dict[str, list[str]]:
    """Who may publish each event, by the event's name."""
    found: dict[str, list[str]] = {ROWS: [DataFeed.name]}
    live = (RecordedLink.name, RecordedLink.emits)  # In the paper broker's place.
    declared = [(DataFeed.name, DataFeed.emits), live, *((service.name, service.emits) for service in services)]
    for name, emits in declared:
        for kind in emits:
            found.setdefault(kind.__name__, []).append(name)
    for kind_name in SESSION_EMITS:
        found.setdefault(kind_name, []).append(SESSION)
    return found


def wiring() -> list[Arrow]:
    """Every arrow of the house, in the order of its services; the recorder's stand for "is journalled"."""
    services = bare_house().services
    sources = emitters(services)
    handed = {Arrow(one.name, *one.hands_to) for one in services if isinstance(one, Handing)}
    return sorted(
        handed
        | {
            Arrow(source, kind.__name__, service.name)
            for service in services
            for kind in consumes(service)
            for source in sources.get(kind.__name__, ())
        }
    )


def as_mermaid(arrows: Sequence[Arrow]) -> str:
    """A mermaid flowchart; what the recorder takes is left out, since it is everything that is recorded."""
    lines = ["```mermaid", "flowchart LR"]
    for source, target, label in _bundled(arrows):
        lines.append(f"    {source} -->|{label}| {target}")
    return "\n".join([*lines, "```"]) + "\n"


def as_json(arrows: Sequence[Arrow]) -> str:
    """The arrows as JSON."""
    return msgspec.json.format(msgspec.json.encode(arrows), indent=1).decode() + "\n"


def _bundled(arrows: Sequence[Arrow]) -> list[tuple[str, str, str]]:
    bundles: dict[tuple[str, str], list[str]] = {}
    for arrow in arrows:
        if arrow.target not in {RECORDER, arrow.source}:
            bundles.setdefault((arrow.source, arrow.target), []).append(arrow.event)
    return [(source, target, "<br>".join(events)) for (source, target), events in bundles.items()]


# ---------------------------------------------------------------- a picture without any tool
_ORDER: Final = (
    SESSION, "data_feed", "market_keeper", "paper_broker", "session_phases", "chain_engine", "strategy_host",
    "filter_chain",
    "forecasts", "isolation", "learner", "risk_engine", "order_router", "ledger_keeper", "patience", "safe_exit",
    "reconciler",
    "failover_watchdog", "kill_switch", "stage_clock", "performance_monitor",
)  # fmt: skip


def as_svg(arrows: Sequence[Arrow]) -> str:
    """A matrix: a row per service that publishes, a column per service that acts, the events in the cell."""
    bundles = {(source, target): label.split("<br>") for source, target, label in _bundled(arrows)}
    rows = _ranked(source for source, _ in bundles)
    columns = _ranked(target for _, target in bundles)
    wide, left, top = 150, 150, 60
    heights = [22 + 13 * max(len(bundles.get((row, column), ())) for column in columns) for row in rows]
    width, height = left + wide * len(columns), top + sum(heights)
    cells: list[str] = []
    for place, column in enumerate(columns):
        cells.append(_text(left + wide * place + 6, top - 12, column, bold=True))
    y = top
    for row, tall in zip(rows, heights, strict=True):
        cells.append(f'<line x1="0" y1="{y}" x2="{width}" y2="{y}" class="rule"/>')
        cells.append(_text(6, y + 18, row, bold=True))
        for place, column in enumerate(columns):
            for line, event in enumerate(bundles.get((row, column), ())):
                cells.append(_text(left + wide * place + 6, y + 18 + 13 * line, event))
        y += tall
    style = (
        "text{font:11px ui-monospace,monospace;fill:#24292f}.b{font-weight:700}.rule{stroke:#d0d7de}"
        "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.rule{stroke:#30363d}}"
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"><style>{style}</style>'
    title = _text(6, 18, "rows publish, columns act", bold=True)
    return "\n".join([head, title, *cells, "</svg>"]) + "\n"


def _ranked(names: object) -> list[str]:
    assert hasattr(names, "__iter__")
    return sorted(set(names), key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name))


def _text(x: int, y: int, text: str, *, bold: bool = False) -> str:
    return f'<text x="{x}" y="{y}"{" class=" + chr(34) + "b" + chr(34) if bold else ""}>{text}</text>'


DRAWINGS: Final[dict[str, Callable[[Sequence[Arrow]], str]]] = {".svg": as_svg, ".json": as_json, ".md": as_mermaid}
