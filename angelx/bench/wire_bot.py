"""Who trades in `angelx bench wire`, as a process: the daemon, or the same bot on a broker's official client.

`python -m angelx.bench.wire_bot WHO URL DIRECTORY`: every quote of one instrument is answered by one order, buying and
selling in turn. `WHO-busy` watches a hundred more beside it.
"""

import sys
import warnings
from pathlib import Path
from typing import Any, Final
from unittest import mock

from angelx.bench.wire_venue import ANSWERED, BUSY, LOT, SECRETS, SHARE, shares
from angelx.signals.strategy import Strategy

WIDE: Final[dict[str, object]] = {
    "risk.max_order_fraction": 1, "risk.max_daily_trades": 1_000_000, "risk.max_positions": 1_000,
    "risk.premium_at_risk": 1, "risk.daily_loss": 0.5, "risk.drawdown_stop": 0.6, "risk.orders_per_s": 1_000,
    "risk.rejects_per_min": 1_000, "risk.duplicate_window_s": 0, "risk.collar_ticks": 20, "risk.equities.name": 1,
    "risk.equities.spread_bps": 1_000, "risk.options.spread_ticks": 1_000,
}  # fmt: skip
"""Limits that do not bind: a bot that trades on every quote is not what they are for."""


class PingPong(Strategy):
    """Answers every quote of an instrument with an order."""

    def __init__(self, answers: str = "") -> None:
        self._answers = answers

    def watches(self) -> list[int]:
        """The one; none without a name."""
        return [place for place, one in enumerate(self.desk.instruments) if one.id == self._answers]

    def on_tick(self, place: int) -> None:
        """In and out in turn."""
        if not self.desk.working(place):
            _ = self.desk.flat(place) if self.desk.position(place) else self.desk.long(place, why="tick")


def settings(
    broker: str, url: str, directory: Path, *, trades: bool = True, instruments: int = 1, durability: str = "intent"
) -> dict[str, object]:
    """Configuration of the daemon."""
    is_indian = broker == "angelone"
    return {
        **WIDE, "state_dir": str(directory / "state"), "broker": broker, "currency": "INR" if is_indian else "USD",
        "capital": 1_000_000, "risk.fixed_units": LOT if is_indian else 1,
        "strategies": [{"use": f"{__file__}:PingPong", "params": {"answers": ANSWERED[broker] if trades else ""}}],
        "filters": [{"use": "session"}, {"use": "freshness"}], "chain.enabled": "never", "report.enabled": False,
        "live.base_url": url, "live.clock": "venue", "live.symbols": ["NIFTY"] if is_indian else shares(instruments),
        "live.expiries": 1, "live.strikes": instruments, "log.level": "warning",
        "journal.durability": durability,
    }  # fmt: skip


def daemon(broker: str, url: str, directory: Path, **more: Any) -> None:
    """The whole of `angelx run`, but that no rate limit holds an order back: waiting is not what is measured."""
    import os

    from angelx.adapters.alpaca import rest
    from angelx.adapters.angelone import limits
    from angelx.adapters.signals import Standby
    from angelx.adapters.terminal import open_progress
    from angelx.app.config import load_config
    from angelx.app.trading import Plan
    from angelx.bus.clock import SystemClock
    from angelx.orders.windows import MINUTE, Limit
    from angelx.research.play import play

    for name, secret in SECRETS[broker].items():
        os.environ[f"ANGELX_{broker}_{name}".upper()] = secret
    wide = {name: (Limit(10**6, MINUTE),) for name in limits.LIMITS}
    with mock.patch.object(limits, "LIMITS", wide), mock.patch.object(rest, "PER_MINUTE", 10**6):
        config = load_config(None, settings(broker, url, directory, **more))
        play([Plan(mode="run", config=config)], open_progress(live=False), Standby(SystemClock().now))


# ---------------------------------------------------------------- the official clients
MASTER: Final = "/OpenAPI_File/files/OpenAPIScripMaster.json"


def smartapi(url: str, instruments: int) -> None:
    """The same on smartapi-python: its stream, its `placeOrder`."""
    import pyotp
    import requests

    with mock.patch("requests.get", side_effect=ConnectionError("no address is asked for")):  # as it is imported
        from SmartApi import SmartConnect  # type: ignore[attr-defined,unused-ignore]
    from SmartApi.smartWebSocketV2 import SmartWebSocketV2

    secrets = SECRETS["angelone"]
    SmartConnect._rootUrl = url  # noqa: SLF001 - it has no other way to be told
    client = SmartConnect(api_key=secrets["api_key"])
    session = client.generateSession(secrets["client_code"], secrets["pin"], pyotp.TOTP(secrets["totp_secret"]).now())
    options = [one for one in requests.get(url + MASTER, timeout=5).json() if one["exch_seg"] == "NFO"][-instruments:]
    found = options[-1]["token"]
    SmartWebSocketV2.ROOT_URI = url.replace("http", "ws", 1) + "/smart-stream"
    stream = SmartWebSocketV2(
        session["data"]["jwtToken"], secrets["api_key"], secrets["client_code"], client.getfeedToken()
    )
    held = False

    def on_data(_: object, quote: dict[str, Any]) -> None:
        nonlocal held
        if quote["token"] != found:
            return
        price = quote["best_5_sell_data" if held else "best_5_buy_data"][0]["price"] / 100  # it has them the wrong way
        side, held = ("SELL" if held else "BUY"), not held
        client.placeOrder(
            {
                "variety": "NORMAL", "tradingsymbol": options[-1]["symbol"], "symboltoken": found,
                "transactiontype": side, "exchange": "NFO", "ordertype": "LIMIT", "producttype": "CARRYFORWARD",
                "duration": "DAY", "price": str(price), "squareoff": "0", "stoploss": "0", "quantity": str(LOT),
            }
        )  # fmt: skip

    def on_open(_: object) -> None:
        stream.subscribe("bench", 3, [{"exchangeType": 2, "tokens": [one["token"] for one in options]}])

    stream.on_data, stream.on_open = on_data, on_open
    stream.connect()


def alpaca_py(url: str, instruments: int) -> None:
    """The same on alpaca-py: `StockDataStream`, `TradingClient.submit_order`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from alpaca.data.live import StockDataStream
        from alpaca.trading.client import TradingClient
        from alpaca.trading.enums import OrderSide, TimeInForce
        from alpaca.trading.requests import LimitOrderRequest

        keys = SECRETS["alpaca"]
        client = TradingClient(keys["key_id"], keys["secret_key"], url_override=url)
        stream = StockDataStream(
            keys["key_id"], keys["secret_key"], url_override=url.replace("http", "ws", 1) + "/v2/sip"
        )
        held = False

        async def on_quote(quote: Any) -> None:
            nonlocal held
            if quote.symbol != SHARE:
                return
            side, price = (OrderSide.SELL, quote.bid_price) if held else (OrderSide.BUY, quote.ask_price)
            held = not held
            client.submit_order(
                LimitOrderRequest(
                    symbol=SHARE, qty=1, side=side, time_in_force=TimeInForce.DAY, limit_price=round(price, 2)
                )
            )

        stream.subscribe_quotes(on_quote, *shares(instruments))
        stream.run()


def main(who: str, url: str, directory: str) -> None:
    """Trade until killed."""
    name, instruments = who.removesuffix("-busy"), BUSY if who.endswith("-busy") else 1
    if name == "smartapi-python":
        smartapi(url, instruments)
    elif name == "alpaca-py":
        alpaca_py(url, instruments)
    elif name == "load":
        daemon("angelone", url, Path(directory), trades=False, instruments=400)
    else:
        broker, _, spooled = name.partition("-")
        durability = "spool" if spooled else "intent"
        daemon(broker, url, Path(directory), durability=durability, instruments=instruments)


if __name__ == "__main__":
    main(*sys.argv[1:])
