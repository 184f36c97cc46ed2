"""The report on what filters let pass and how good forecasts were; nothing where there was no chain."""

from angelx.domain import events as ev
from angelx.research.report_figures import Figures, figures_of
from angelx.research.report_format import Formats
from angelx.research.report_learning import forecasts_section, quality_section, warnings_of
from angelx.research.report_markdown import markdown_of
from angelx.research.session_facts import SessionFacts
from tests.research.made_up import OPEN, approved, started


def signals(n: int, *, refused: int, window: str = "morning", first: int = 1) -> list[ev.Event]:
    found: list[ev.Event] = []
    for number in range(first, first + n):
        by = "trap" if number < first + refused else ""
        found.append(ev.Signal(OPEN, number, "bias", "NFO:<X>", 1, 1, 2))
        found.append(ev.SignalJudged(OPEN, number, "bias", "NIFTY", 1, "high", window, (("spread", 0.5),), by))
        if by:
            found.append(ev.SignalRefused(OPEN, number, "bias", "NFO:<X>", "filter", "likely_trap", "<b>"))
        else:
            found.append(approved(f"o{number}", number))
    return found


def figures(events: list[ev.Event]) -> Figures:
    return figures_of(SessionFacts.of([started(), *events]), {}, "t")


def test_a_cell_that_admits_nearly_all_is_warned_of_once_there_is_proof() -> None:
    assert warnings_of(figures(signals(3, refused=0))) == [], "three signals prove nothing"
    (line,) = warnings_of(figures([*signals(40, refused=2), *signals(40, refused=25, window="midday", first=100)]))
    assert line == "In high volatility, morning, 38 of 40 were admitted, not 5 to 60 %."


def test_page_and_markdown_have_both_tables() -> None:
    events = signals(10, refused=6)
    for number in range(1, 31):
        events.append(ev.ForecastMade(OPEN, number, "bias", "NIFTY", 0.6, 900, 100.0))
        events.append(ev.ForecastScored(OPEN, number, "bias", "NIFTY", 0.6, number % 2, 101.0))
    events.append(ev.ForecastScored(OPEN, 40, "signal", "NIFTY", 0.6, 1, 101.0, signal=9))
    shown = figures(events)
    page = quality_section(shown) + forecasts_section(shown)
    assert "Signals by regime and window" in page
    assert "likely_trap (6)" in page
    assert "0.2600" in page, "Brier score of 0.6 where half happens"
    text = markdown_of(shown, Formats("INR", SessionFacts.of([started()]).zone))
    assert "| high | morning | 10 | 4 | 4 | 1 | 1 | likely\\_trap (6) |" in text
    assert "| bias | 30 | 30 | 50.0 % | 50.0 % |" in text
    assert shown.summary["signal_quality"]["by_strategy"]["bias"]["efficiency"] == 1.0
    assert shown.summary["forecasts"]["bias"]["independent"] == 2.0


def test_without_chains_there_is_nothing_to_show() -> None:
    shown = figures([])
    assert (quality_section(shown), forecasts_section(shown)) == ("", "")


def test_work_and_tuning_are_in_the_course_of_the_session() -> None:
    facts = SessionFacts.of(
        [
            started(),
            ev.WorkDone(OPEN, 1, "trap_refit", "{}"),
            ev.WorkFailed(OPEN, 2, "trap_refit", "timeout", "no answer within 60 s"),
            ev.TuningLearned(OPEN, 3, "{}"),
        ]
    )
    assert [(one.kind, one.what) for one in facts.timeline] == [("work", "trap_refit"), ("tuning", "version 3")]
    assert [(one.kind, one.detail) for one in facts.incidents] == [("work timeout", "no answer within 60 s")]
    assert facts.summary()["tuning_version"] == 3
