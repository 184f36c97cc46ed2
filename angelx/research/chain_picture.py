"""What a chain shows at a moment, as one tree of plain data: the table, the JSON and the page are made from it."""

from datetime import date
from math import isfinite
from typing import Any, Final

from angelx.domain.errors import InputInvalid
from angelx.domain.scalars import SCALE
from angelx.domain.ticks import ASK, ASK_SIZE, BID, BID_SIZE, EXCHANGE_AT, LAST
from angelx.market.chain import Work
from angelx.market.chain_layout import ExpiryLine
from angelx.market.chain_view import ChainView, ExpiryView, Flow
from angelx.market.oi_flow import signed
from angelx.research.chain_play import Played, as_data

GREEKS: Final = ("iv", "delta", "gamma", "vega", "theta", "rho")
LEVELS: Final = ("max_pain", "call_wall", "put_wall")
"""Strikes of a view."""


def expiry_of(played: Played, underlying: str, wanted: date | None) -> ExpiryLine:
    """The expiry asked for, or the nearest that has not passed.

    Raises
    ------
    InputInvalid
        There is no such expiry, or all have passed.
    """
    lines = played.chains.layout.by_underlying[underlying]
    day = wanted or played.chains.views[underlying].front
    found = next((one for one in lines if one.expiry == day), None)
    if found is None:
        what = f"--expiry {wanted}: there are" if wanted else "every expiry has passed:"
        raise InputInvalid(f"{what} {', '.join(one.expiry.isoformat() for one in lines)}")
    return found


def picture(played: Played, underlying: str, expiry: ExpiryLine) -> dict[str, Any]:
    """Everything about one underlying, with the strikes of one expiry; no number in it is NaN or infinite."""
    chains = played.chains
    view = chains.views[underlying]
    settlement = played.settlements.of(expiry.segment, expiry.expiry)
    waited = chains.waited()
    answer = {
        "at": played.at,
        "last_row_at": played.last_row_at,
        "underlying": underlying,
        "spot": view.spot,
        "front": as_data(view.front),
        "expiry": expiry.expiry.isoformat(),
        "settles_at": settlement.at,
        "settlement_note": settlement.note,
        "averaging": bool(settlement.averaging_from) and played.at >= settlement.averaging_from,
        "lot": expiry.lot,
        **_terms(view, expiry),
        "expiries": [_expiry(view.expiries[one.expiry]) for one in chains.layout.by_underlying[underlying]],
        "view": _view(chains.view_of(expiry)),
        "strikes": [_strike(played, expiry, n) for n in range(len(expiry.strikes))],
        "rows": played.rows,
        "bad_input": {**chains.bad_input(), **{f"refused_{why}": n for why, n in played.refused.items()}},
        "work": {**as_data(played.work), "avoided": _avoided(played.work)},
        "deferral": waited.as_dict(),
    }
    _all_finite(answer, "")
    return answer


def _terms(view: ChainView, expiry: ExpiryLine) -> dict[str, Any]:
    terms = _expiry(view.expiries[expiry.expiry])
    del terms["expiry"]
    return terms


def _expiry(terms: ExpiryView) -> dict[str, Any]:
    data: dict[str, Any] = as_data(terms)
    return {**data, "atm_strike": _price(terms.atm_strike)}


def _view(view: ChainView) -> dict[str, Any]:
    data: dict[str, Any] = as_data(view)
    del data["expiries"]
    levels = {name: _price(data[name]) for name in LEVELS}
    return {**data, **levels, "flow_since": view.flow_since or None}


def _avoided(work: Work) -> float | None:
    """Share of a full recompute not done: `None` where none was due, 0 where time alone gave more to do."""
    return None if work.avoided is None else max(work.avoided, 0.0)


def _strike(played: Played, expiry: ExpiryLine, n: int) -> dict[str, Any]:
    return {
        "strike": int(expiry.strikes[n]) / SCALE,
        "call": _leg(played, int(expiry.calls[n])),
        "put": _leg(played, int(expiry.puts[n])),
    }


def _leg(played: Played, line: int) -> dict[str, Any] | None:
    """One option; prices in currency units, open interest and flow in lots; `None` = undefined, see `reason`."""
    if line < 0:
        return None
    chains, market = played.chains, played.market
    place = int(chains.layout.places[line])
    contract = chains.contract(place)
    assert contract is not None
    cells, lot = market.view, float(chains.layout.lots[line])
    defined = contract.reason == "defined"
    units = chains.flow.units[line]
    flow = chains.strike_flow(place)
    return {
        "id": market.table[place].id,
        "bid": _price(cells[BID, place]),
        "ask": _price(cells[ASK, place]),
        "bid_size": cells[BID_SIZE, place] / lot,
        "ask_size": cells[ASK_SIZE, place] / lot,
        "last": _price(cells[LAST, place]),
        "quoted_at": cells[EXCHANGE_AT, place] or None,
        "oi": float(chains.flow.oi[line]) / lot,
        "volume": float(chains.flow.volume[line]) / lot,
        **{name: getattr(contract, name) if defined else None for name in GREEKS},
        "reason": contract.reason,
        "flow": as_data(flow),
        "signed_flow": float(signed(units)) / lot,
        "oi_change": oi_change(flow),
    }


def oi_change(flow: Flow) -> float:
    """Open interest gained over the window, lots."""
    return flow.long_build_up + flow.short_build_up - flow.long_unwinding - flow.short_covering


def _price(cell: int) -> float | None:
    return cell / SCALE if cell else None


def _all_finite(data: Any, path: str) -> None:
    """No NaN ever leaves: it would be a bug, and is named."""
    if isinstance(data, dict):
        for key, value in data.items():
            _all_finite(value, f"{path}.{key}")
    elif isinstance(data, list):
        for number, value in enumerate(data):
            _all_finite(value, f"{path}[{number}]")
    elif isinstance(data, float) and not isfinite(data):
        raise ArithmeticError(f"{path[1:]} is {data}")
