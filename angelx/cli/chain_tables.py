"""The chain in the terminal: what is known of the underlying, its expiries, and calls left, puts right."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final
from zoneinfo import ZoneInfo

from angelx.cli.tables import rendered
from angelx.research.report_format import DASH, Formats, strike_text

WIDTH: Final = 124
DAYS: Final = 365.0


def chain_tables(data: dict[str, Any], strikes: Sequence[dict[str, Any]], zone: ZoneInfo) -> Iterator[str]:
    """Everything as plain lines."""
    yield from rendered(_summary(data, Formats("", zone)), WIDTH)
    yield from rendered(_expiries(data), WIDTH)
    yield from rendered(_quotes(data, strikes), WIDTH)
    yield from rendered(_greeks(data, strikes), WIDTH)
    undefined = Counter(
        leg["reason"] for one in strikes for leg in (one["call"], one["put"]) if leg and leg["iv"] is None
    )
    if undefined:
        yield f"undefined above ({DASH}): " + ", ".join(f"{why} {count}" for why, count in undefined.most_common())
    if data["bad_input"]:
        yield "not used: " + ", ".join(f"{why} {count:,}" for why, count in sorted(data["bad_input"].items()))


def _summary(data: dict[str, Any], formats: Formats) -> Any:
    from rich import box
    from rich.table import Table

    view = data["view"]
    table = Table(box=box.SIMPLE, show_header=False, title=f"{data['underlying']}  {data['expiry']}")
    for style in ("bold", "", "bold", ""):
        table.add_column(style=style)
    calls, puts = view["call_flow"], view["put_flow"]
    days = f"{data['years'] * DAYS:.2f} days to {formats.stamp(data['settles_at'])}"
    flows = [
        f"long build-up {flow['long_build_up']:,.0f}, short build-up {flow['short_build_up']:,.0f}, "
        f"unwinding {flow['long_unwinding']:,.0f}, covering {flow['short_covering']:,.0f}"
        for flow in (calls, puts)
    ]
    walls = f"{strike_text(view['put_wall'])}, {strike_text(view['call_wall'])}"
    rows = [
        ("at", formats.stamp(data["at"]), "last row", formats.stamp(data["last_row_at"])),
        ("spot", _price(data["spot"]), "life", days + (", averaging" if data["averaging"] else "")),
        ("forward", f"{_price(data['forward'])} {data['forward_reason']}", "discount", _number(data["discount"], 5)),
        ("ATM IV", _percent(data["atm_iv"]), "skew (25 delta)", _points(data["skew"])),
        ("PCR by OI", _number(view["pcr_oi"], 2), "PCR by volume", _number(view["pcr_volume"], 2)),
        ("max pain", strike_text(view["max_pain"]), "walls: put, call", walls),
        ("bias", _number(view["bias"], 3, signed=True), "its strength", _number(view["bias_strength"], 2)),
        ("trap upward", _number(view["trap_up"], 2), "trap downward", _number(view["trap_down"], 2)),
        ("regime", view["regime"], "IV rank, closes, noise",
         f"{_number(view['iv_rank'], 2)}, {view['sessions']}, {_number(view['iv_noise'], 2)}"),
        ("flows since", formats.stamp(view["flow_since"]), "front expiry", data["front"] or DASH),
        ("call flow, lots", flows[0], "put flow, lots", flows[1]),
    ]  # fmt: skip
    for row in rows:
        table.add_row(*row)
    return table


def _expiries(data: dict[str, Any]) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE, title="Term structure")
    for name in ("expiry", "days", "forward", "discount", "ATM strike", "ATM IV", "skew", "forward is"):
        table.add_column(name, justify="left" if name in {"expiry", "forward is"} else "right")
    for one in data["expiries"]:
        table.add_row(
            one["expiry"], f"{one['years'] * DAYS:,.1f}", _price(one["forward"]), _number(one["discount"], 5),
            strike_text(one["atm_strike"]), _percent(one["atm_iv"]), _points(one["skew"]), one["forward_reason"],
        )  # fmt: skip
    return table


def _quotes(data: dict[str, Any], strikes: Sequence[dict[str, Any]]) -> Any:
    names = ("OI", "change", "flow", "delta", "IV", "bid", "ask")

    def cells(leg: dict[str, Any]) -> list[str]:
        return [
            _lots(leg["oi"]), f"{leg['oi_change']:+,.0f}", f"{leg['signed_flow']:+,.0f}", _number(leg["delta"], 3),
            _percent(leg["iv"]), _price(leg["bid"]), _price(leg["ask"]),
        ]  # fmt: skip

    shown = f"{len(strikes)} of {len(data['strikes'])} strikes in the source"
    return _mirrored(f"Calls left, puts right (OI and flow in lots): {shown}", names, cells, data, strikes)


def _greeks(data: dict[str, Any], strikes: Sequence[dict[str, Any]]) -> Any:
    names = ("rho", "theta", "vega", "gamma", "delta", "IV")

    def cells(leg: dict[str, Any]) -> list[str]:
        return [
            _number(leg["rho"], 1), _number(leg["theta"], 2), _number(leg["vega"], 2), _number(leg["gamma"], 6),
            _number(leg["delta"], 4), _percent(leg["iv"]),
        ]  # fmt: skip

    return _mirrored("Greeks (theta a day, vega a vol point)", names, cells, data, strikes)


def _mirrored(
    title: str, names: Sequence[str], cells: Any, data: dict[str, Any], strikes: Sequence[dict[str, Any]]
) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE, title=title, padding=(0, 0, 0, 1), collapse_padding=True)
    for name in (*names, "strike", *reversed(names)):
        table.add_column(name, justify="right", no_wrap=True, style="bold" if name == "strike" else "")
    for one in strikes:
        mark = ">" if one["strike"] == data["atm_strike"] else ""
        legs = [cells(leg) if leg else [DASH] * len(names) for leg in (one["call"], one["put"])]
        table.add_row(*legs[0], f"{mark}{strike_text(one['strike'])}", *reversed(legs[1]))
    return table


def _lots(lots: float) -> str:
    return f"{lots:,.0f}" if lots < 99_999.5 else f"{lots / 1_000:,.0f}k"


def _price(price: float | None) -> str:
    return DASH if price is None else f"{price:,.2f}"


def _percent(share: float | None) -> str:
    return DASH if share is None else f"{100 * share:.2f}"


def _points(share: float | None) -> str:
    return DASH if share is None else f"{100 * share:+.2f}"


def _number(value: float | None, places: int, *, signed: bool = False) -> str:
    return DASH if value is None else f"{value:{'+' if signed else ''},.{places}f}"
