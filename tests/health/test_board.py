"""The worst of what services last said, and only who said it takes it back."""

from hypothesis import given
from hypothesis import strategies as st

from angelx.domain.events import HealthChanged
from angelx.health.board import STATES, HealthBoard

SAID = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(STATES)))


@given(SAID)
def test_the_worst_that_is_not_taken_back_counts(said: list[tuple[str, str]]) -> None:
    board = HealthBoard()
    last: dict[str, str] = {}
    for number, (service, state) in enumerate(said):
        board.take(HealthChanged(number, state, f"why {number}", service))
        last[service] = state
    assert board.is_heard == bool(said)
    assert STATES.index(board.state) == max(map(STATES.index, last.values()), default=0)
    assert {name: text.partition(":")[0] for name, text in board.reasons.items()} == {
        name: state for name, state in last.items() if state != "healthy"
    }
    assert bool(board.bars_entries) == bool({"recovering", "paused", "critical"} & set(last.values()))


def test_who_is_well_again_takes_only_his_own_word_back() -> None:
    board = HealthBoard()
    board.take(HealthChanged(1, "recovering", "stream lost", "broker_link"))
    board.take(HealthChanged(2, "paused", "books disagree", "reconciler"))
    board.take(HealthChanged(3, "healthy", "ticks again", "failover_watchdog"))
    assert (board.state, board.bars_entries) == ("paused", "recovering: stream lost")
    board.take(HealthChanged(4, "healthy", "books merged", "broker_link"))
    assert board.reasons == {"reconciler": "paused: books disagree"}
