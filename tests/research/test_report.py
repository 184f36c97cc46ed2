"""The report in its three forms: the same figures, nothing from the network, no text taken for markup."""

import errno
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from angelx.domain import events as ev
from angelx.domain.scalars import SCALE
from angelx.health.latency import LatencyHistogram
from angelx.research.report import _plotly_js, _write, write_report
from angelx.research.report_charts import CURVE_POINTS, INSTRUMENT_FILLS, MARKERS, thin
from angelx.research.report_format import clean
from angelx.research.report_script import SCRIPT
from angelx.research.session_facts import SessionFacts
from angelx.research.untraded import AROUND_BARS
from tests.research.made_up import OPEN, approved, filled, session, started

NASTY = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"


def metrics() -> dict[str, object]:
    histogram = LatencyHistogram()
    for value in range(1_000, 90_000, 7):
        histogram.add(value)
    return {
        "ticks": 1_284_331,
        "ticks_per_s": 584_123.4,
        "latency": {"risk": histogram.as_dict(), "order": histogram.as_dict()},
        "checks": [{"name": "Disk", "ok": False, "detail": "0.8 GB free"}],
        "cache": {"hits": 812},
    }


class Tags(HTMLParser):
    """Counts elements and gathers addresses of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.counts: dict[str, int] = {}
        self.addresses: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1
        self.addresses += [value or "" for name, value in attrs if name in {"src", "href", "srcset"}]


def written(events: list[ev.Event], path: Path, **more: object) -> str:
    return write_report(SessionFacts.of(events), {**metrics(), **more}, path, title="Paper session").read_text("utf-8")


def drawn(page: str) -> dict[str, object]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    data: dict[str, object] = json.loads(found.group(1))
    return data


def test_page_markdown_and_json_say_the_same(tmp_path: Path) -> None:
    facts = SessionFacts.of(session(120))
    path = write_report(facts, metrics(), tmp_path / "new" / "report.html", title="Paper session")
    page, markdown = path.read_text("utf-8"), path.with_suffix(".md").read_text("utf-8")
    figures = json.loads(path.with_suffix(".json").read_bytes())
    for key, value in facts.summary().items():
        if key != "ticks":
            assert figures["summary"][key] == json.loads(json.dumps(value)), key
    pnl = f"₹{abs(facts.pnl) / SCALE:,.2f}"
    assert pnl in page
    assert pnl in markdown
    assert len(figures["orders"]["rows"]) == len(facts.orders)
    place = figures["trips"]["columns"].index("pnl_e4")
    assert sum(row[place] for row in figures["trips"]["rows"]) == sum(trip.pnl for trip in facts.trips)
    assert sum(row["count"] for row in figures["refusals"]) == facts.refused
    assert sorted(p.name for p in path.parent.iterdir()) == ["report.html", "report.json", "report.md"]


def test_nothing_comes_from_elsewhere(tmp_path: Path) -> None:
    page = written(list(session(50)), tmp_path / "report.html")
    ours = page.replace(_plotly_js(), "")
    assert len(ours) < len(page) - 4_000_000
    assert Tags(page).addresses == []
    assert "://" not in ours
    assert "@import" not in ours


def test_names_are_text_wherever_they_stand(tmp_path: Path) -> None:
    events: list[ev.Event] = [
        started(),
        ev.SourceOpened(OPEN, NASTY, NASTY, NASTY, 1),
        ev.HealthChanged(OPEN, NASTY, NASTY, NASTY),
        ev.Signal(OPEN, 1, NASTY, NASTY, 1, 1, 2, 0, NASTY),
        approved("a", 1, strategy=NASTY, instrument=NASTY),
        filled("a", 75, 100_0000, OPEN + 1, instrument=NASTY),
        ev.EquityMarked(OPEN + 2, 1, 1, 1, 24_000_0000),
        approved("b", 1, strategy=NASTY, instrument=NASTY, side=-1),
        filled("b", 75, 100_0000, OPEN + 3, side=-1, instrument=NASTY),
        ev.SignalRefused(OPEN, 2, NASTY, NASTY, NASTY, NASTY, NASTY),
        ev.StrategyFailed(OPEN, NASTY, NASTY + "\x1b[2J\n| x |"),
        approved(NASTY, 1),
        ev.OrderEnded(OPEN, NASTY, "rejected", NASTY, NASTY),
    ]
    facts = SessionFacts.of(events)
    latency: dict[str, object] = {NASTY: LatencyHistogram().as_dict()}
    path = write_report(facts, {"latency": latency, NASTY: NASTY}, tmp_path / "report.html", title=NASTY)
    page = path.read_text("utf-8")
    tags = Tags(page)
    assert tags.counts["script"] == 3
    assert "img" not in tags.counts
    assert "\x1b" not in page
    assert "<img" not in json.dumps(drawn(page)["reference"])
    markdown = path.with_suffix(".md").read_text("utf-8")
    assert "<img" not in markdown.replace("\\<img", "")
    assert "\n| x |" not in markdown


@pytest.mark.parametrize("events", [[], [started()], [started(), ev.SessionEnded(OPEN + 1, 0, "source exhausted")]])
def test_an_empty_session_is_a_page_too(events: list[ev.Event], tmp_path: Path) -> None:
    page = write_report(SessionFacts.of(events), {}, tmp_path / "report.html", title="Nothing").read_text("utf-8")
    assert "No strategy sent a signal" in page
    assert "No order was sent" in page
    assert "nan" not in page.replace(_plotly_js(), "").replace(SCRIPT, "").lower()


def why_not(events: list[ev.Event], path: Path, **more: object) -> list[str]:
    """What all three forms say of why nothing was traded."""
    page = write_report(SessionFacts.of(events), more, path / "report.html", title="Nothing").read_text("utf-8")
    markdown, figures = (path / "report.md").read_text("utf-8"), json.loads((path / "report.json").read_bytes())
    reasons: list[str] = figures["summary"]["untraded"]
    for why in reasons:
        assert f"<li>{clean(why)}</li>" in page
    assert markdown.count("\n- ") >= len(reasons)
    assert ("Why nothing was traded" in page) == ("Why nothing was traded" in markdown) == bool(reasons)
    return reasons


def test_a_session_that_traded_nothing_says_why(tmp_path: Path) -> None:
    told = {"chain_bias": {"about": "trades A alone", "passed_over": {"the bias was weak": 7, "nothing fitted": 1_234}}}
    closed = ev.PhaseChanged(OPEN, "NFO", "closed", "2025-08-27: Ganesh Chaturthi")
    assert why_not([started(), closed, ev.SessionEnded(OPEN + 1, 0, "source ended")], tmp_path, strategies=told) == [
        "No tick came.",
        "NFO never opened: 2025-08-27: Ganesh Chaturthi.",
        "No strategy sent a signal.",
        "chain_bias looked 1,241 times without a signal: 1,234 × nothing fitted, 7 × the bias was weak.",  # noqa: RUF001
    ]
    assert "<p>chain_bias trades A alone.</p>" in (tmp_path / "report.html").read_text("utf-8")
    signal = ev.Signal(OPEN, 1, "s", "NFO:X", 1, 1, 2)
    refused = ev.SignalRefused(OPEN, 1, "s", "NFO:X", "filter", "spread", "4 > 2 ticks")
    failed, halted = ev.StrategyFailed(OPEN, "s", "ValueError: no"), ev.LevelChanged(OPEN, "halt", "a person", "cli")
    assert why_not([started(), signal, refused, failed, halted], tmp_path, scope="indicative") == [
        "This recording has no quotes, so nothing can trade.",
        "The kill switch stands at halt.",
        "s failed and was not asked again: ValueError: no.",
        "None of 1 signal came to an order; refused: 1 × spread; for instance 4 > 2 ticks.",  # noqa: RUF001
    ]
    bars = ev.SourceOpened(OPEN, "us-equities", "{}", "", 1)
    (first, _) = why_not([started(), bars], tmp_path, scope="indicative")
    assert first == f"This recording has no quotes, so nothing can trade; {AROUND_BARS}."
    ended = ev.OrderEnded(OPEN, "a", "rejected", "fees_unknown", "no table")
    assert why_not([started(), approved("a", 1), ended], tmp_path, quoted=(2, 2)) == [
        "None of 1 order was filled: 1 × rejected fees_unknown."  # noqa: RUF001
    ]
    assert (
        why_not([started()], tmp_path, quoted=[0, 3])[0] == "None of 3 tradable instruments ever had a bid and an ask."
    )
    assert why_not([started()], tmp_path, quoted=(1, 3))[0] == "1 of 3 tradable instruments ever had a bid and an ask."
    assert why_not([started(), approved("a", 1), filled("a", 75, 100_0000, OPEN + 1)], tmp_path, strategies=told) == []


def test_what_was_not_timed_has_no_percentiles(tmp_path: Path) -> None:
    page = written([started()], tmp_path / "report.html", latency={"risk": LatencyHistogram().as_dict()})
    assert "Nothing was timed" in page
    assert "0 ns" not in page.replace(_plotly_js(), "") + (tmp_path / "report.md").read_text("utf-8")


def test_pictures_of_a_long_session_are_thinned_and_say_so(tmp_path: Path) -> None:
    facts = SessionFacts.of(session(7_000, strategies=("ema_cross",)))
    page = write_report(facts, metrics(), tmp_path / "report.html", title="Long").read_text("utf-8")
    data = drawn(page)
    sides = data["reference"]["sides"]  # type: ignore[index]
    assert len(sides["buy"]["t"]) + len(sides["sell"]["t"]) == MARKERS < len(facts.fills)
    assert all(len(chart["t"]) <= INSTRUMENT_FILLS for chart in data["instruments"])  # type: ignore[attr-defined]
    assert f"{MARKERS:,} of {len(facts.fills):,} fills" in page
    assert f"{len(facts.trips):,}; the JSON file has all" in page
    assert len(page) < 12_000_000


def test_thinning_keeps_ends_highs_and_lows() -> None:
    values = [(place * 7_919) % 10_007 for place in range(50_000)]
    values[31_234], values[777] = 99_999, -5
    places = thin(values, CURVE_POINTS)
    assert len(places) <= CURVE_POINTS
    assert {0, 777, 31_234, 49_999} <= set(places)
    assert places == sorted(places)


def test_nights_are_left_out_of_the_time_axis(tmp_path: Path) -> None:
    data = drawn(written(list(session(30, days=(0, 1, 90))), tmp_path / "report.html"))
    breaks = data["breaks"]
    assert isinstance(breaks, list)
    assert len(breaks) == 2
    assert breaks[1][1] - breaks[1][0] > 88 * 86_400_000


def test_a_metric_of_the_wrong_shape_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"metrics\['latency'\] cannot be reported.*p50_ns"):
        written([started()], tmp_path / "report.html", latency={"risk": {"count": 1, "mean_ns": 1}})
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*report.html'"):
        _write(tmp_path / "report.html", b"...")
