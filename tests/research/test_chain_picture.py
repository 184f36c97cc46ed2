"""What a picture of a chain says of what is undefined: null, never 0 and never nonsense."""

from datetime import date

import pytest

from angelx.market.chain import Work
from angelx.market.chain_view import ChainView, ExpiryView
from angelx.research.chain_picture import LEVELS, _avoided, _expiry, _view


def test_strikes_are_in_currency_units_and_null_where_there_are_none() -> None:
    assert _expiry(ExpiryView(date(2025, 9, 2)))["atm_strike"] is None
    assert _expiry(ExpiryView(date(2025, 9, 2), atm_strike=24_600_5000))["atm_strike"] == 24_600.5
    assert {_view(ChainView("NSE:NIFTY"))[name] for name in (*LEVELS, "flow_since")} == {None}
    view = _view(ChainView("NSE:NIFTY", max_pain=24_600_0000, call_wall=25_000_0000, put_wall=24_000_0000))
    assert [view[name] for name in LEVELS] == [24_600.0, 25_000.0, 24_000.0]


@pytest.mark.parametrize(
    ("computed", "asked", "full", "avoided"), [(0, 0, 0, None), (5, 1, 0, None), (20, 10, 40, 0.25), (50, 30, 40, 0.0)]
)
def test_work_avoided_is_a_share_or_null(computed: int, asked: int, full: int, avoided: float | None) -> None:
    assert _avoided(Work(computed=computed, asked=asked, full=full)) == avoided
