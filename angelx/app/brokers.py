"""Brokers put together: transports, session, client and feed, and the instruments chosen from the broker's master."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog

from angelx.adapters.http_transport import HttpTransport
from angelx.app.config import Config
from angelx.app.live import Before, Live
from angelx.app.session import fee_of
from angelx.bus.clock import PacedClock, PacingClock, SystemClock
from angelx.domain.errors import BrokerUnreachable, ConfigInvalid, OrderRejected, RateLimited
from angelx.domain.events import Event
from angelx.domain.instruments import Instrument, InstrumentTable, Kind
from angelx.domain.ports import BrokerClient
from angelx.domain.reports import held_in
from angelx.domain.scalars import NS
from angelx.domain.wire import NoAnswer, Transport
from angelx.market.sessions import Sessions

if TYPE_CHECKING:
    from angelx.adapters.angelone.feed import AngelOneFeed

log = structlog.get_logger()

ANGELONE: Final = {
    "rest": "https://apiconnect.angelone.in",
    "market": "https://smartapisocket.angelone.in",
    "orders": "https://tns.angelone.in",
    "master": "https://margincalculator.angelbroking.com",
}
ALPACA: Final = {
    "live": "https://api.alpaca.markets",
    "paper": "https://paper-api.alpaca.markets",
    "data": "https://data.alpaca.markets",
    "stream": "https://stream.data.alpaca.markets",
}
SHARES: Final = "US"
"""The segment whose hours say when Alpaca's shares must tick."""
OFF_S: Final = 0.5
"""Seconds of the host that our time may be ahead of a venue's."""
TOO_MANY: Final = 4
"""Times that a start waits because the broker says it is asked too much."""
JITTER: Final = 0.25
"""Such a wait is up to this share longer."""
CREDENTIALS: Final = {
    "angelone": ("angelone_api_key", "angelone_client_code", "angelone_pin", "angelone_totp_secret"),
    "alpaca": ("alpaca_key_id", "alpaca_secret_key"),
}
MASTERS: Final = "instruments"
"""Folder of instrument masters in the state directory."""


class VenueTime(msgspec.Struct, frozen=True):
    """What `angelx venue` answers at `/venue/clock`."""

    now: int
    speed: float


async def connect(config: Config, state: Path, before: Before) -> Live:
    """Log in at the broker that a configuration names, and choose what is watched: what was watched before, if any.

    What the broker says is too much is asked again when it said so: a process of a moment before, or another one on the
    account, may have used up what may be asked.

    Raises
    ------
    BrokerError
        It cannot be reached, or does not let us in.
    ConfigInvalid
        A credential is missing, a symbol is not in the broker's master, or what answers at the address is not it.
    """
    connected = _angelone if config.broker == "angelone" else _alpaca
    random = Random(f"{config.seed} {state}")  # Two that start together must not come back together.
    for _ in range(TOO_MANY):
        try:
            return await connected(config, state, before)
        except RateLimited as error:
            wait_s = error.wait_s * (1 + JITTER * random.random())
            log.warning("start_waits", broker=config.broker, why=str(error), action=f"ask again in {wait_s:.0f} s")
            await asyncio.sleep(wait_s)
        except OrderRejected as error:  # No order was sent: it does not know what was asked for.
            where = config.live.base_url or "its own hosts"
            raise ConfigInvalid(f"broker {config.broker}: what answers at {where} is not it: {error}") from error
    return await connected(config, state, before)


class _Ways:
    """Transports, one for each host; all the same where one address is given."""

    def __init__(self, base_url: str | None) -> None:
        self._base_url = base_url
        self._open: dict[str, HttpTransport] = {}

    def to(self, url: str) -> HttpTransport:
        """The way to a host."""
        origin = self._base_url or url
        return self._open.setdefault(origin, HttpTransport(origin))

    async def close(self) -> None:
        """Let every connection go."""
        for transport in self._open.values():
            await transport.close()


async def _clock(config: Config, transport: Transport) -> PacingClock:
    if config.live.clock == "host":
        return SystemClock()
    time = await _venue_time(config, transport)
    clock = PacedClock(time.now, time.speed)
    clock.now()
    return clock


async def _venue_time(config: Config, transport: Transport) -> VenueTime:
    try:
        answer = await transport.request("GET", "/venue/clock", headers={}, timeout_s=config.live.timeout_s)
        return msgspec.json.decode(answer.body, type=VenueTime)
    except (NoAnswer, msgspec.DecodeError) as error:
        raise BrokerUnreachable(f"live.clock: {config.live.base_url} says no venue time: {error}") from error


def _keeper(config: Config, transport: Transport, clock: PacingClock) -> Callable[[], Coroutine[Any, Any, None]] | None:
    """Asks a venue for its time once a second: it stands still while the venue is down.

    What it says is of some moment since it was asked: ours is wrong where it was later then, or is earlier now.
    """
    if not isinstance(clock, PacedClock):
        return None

    async def keep_time() -> None:
        while True:
            await asyncio.sleep(1.0)
            asked_at = clock.now()
            with suppress(BrokerUnreachable):
                time = await _venue_time(config, transport)
                off = int(OFF_S * time.speed * NS)
                if asked_at - time.now > off:
                    clock.wait_for(time.now)
                elif time.now - clock.now() > off:
                    clock.catch_up(time.now)

    return keep_time


def _heard(client: BrokerClient) -> list[Event]:
    """Where reports go until the session is there."""
    early: list[Event] = []
    client.on_report = early.append
    return early


async def _held(client: BrokerClient, clock: PacingClock) -> tuple[int, tuple[tuple[str, int], ...]]:
    """Positions before anything is sent, and when they were asked for."""
    asked_at = clock.now()
    return asked_at, held_in(await client.positions())


def _secret(config: Config, name: str) -> str:
    secret = getattr(config.secrets, name)
    if secret is None:
        raise ConfigInvalid(
            f"broker {config.broker}: the credential {name} is missing: set ANGELX_{name.upper()}, or write it to "
            f"{config.credentials.directory}/{name} (mode 0600)"
        )
    found: str = secret.get_secret_value()
    if not (found.isascii() and found.isprintable()) or found != found.strip():
        raise ConfigInvalid(
            f"broker {config.broker}: the credential {name} has a line end, a space at an end or a character that no "
            "credential has: copy it again"
        )
    return found


def credentials_of(config: Config) -> dict[str, str]:
    """What logs in at the broker, by name.

    Raises
    ------
    ConfigInvalid
        One is missing or cannot be what it should; none is shown.
    """
    found = {name: _secret(config, name) for name in CREDENTIALS[config.broker]}
    if config.broker == "angelone":
        from angelx.adapters.angelone.session import one_time_passwords

        one_time_passwords(found["angelone_totp_secret"])
    return found


# ---------------------------------------------------------------- Angel One
async def _angelone(config: Config, state: Path, before: Before) -> Live:
    from angelx.adapters.angelone.client import AngelOneClient
    from angelx.adapters.angelone.feed import AngelOneFeed
    from angelx.adapters.angelone.limits import rate_budget
    from angelx.adapters.angelone.master import MasterStore
    from angelx.adapters.angelone.session import AngelLogin, AngelSession

    found = credentials_of(config)
    login = AngelLogin(**{name.removeprefix("angelone_"): secret for name, secret in found.items()})
    live, ways, random = config.live, _Ways(config.live.base_url), Random(config.seed)
    try:
        rest = ways.to(ANGELONE["rest"])
        clock = await _clock(config, rest)
        session = AngelSession(login, rest, rate_budget(clock), clock, random, timeout_s=live.timeout_s)
        client = AngelOneClient(
            session, orders=ways.to(ANGELONE["orders"]), master=ways.to(ANGELONE["master"]),
            store=MasterStore(state / MASTERS), fee=fee_of(config, Sessions.load()), random=random,
            timeout_s=live.timeout_s,
        )  # fmt: skip
        feed = AngelOneFeed(client, ways.to(ANGELONE["market"]), random)
        master = await client.instruments()
        table = InstrumentTable(before.chosen(master) or await _chain(config, master, feed))
        client.recall(before.events)
        early = _heard(client)
        await client.connect(table)
        asked_at, held = await _held(client, clock)
    except BaseException:
        await ways.close()
        raise
    log.info("broker_connected", broker="angelone", instruments=len(table))
    return Live(
        name="angelone", client=client, feed=feed, table=table, clock=clock, scope="nbbo", release=ways.close,
        early=early, asked_at=asked_at, held=held, keep_time=_keeper(config, rest, clock),
    )  # fmt: skip


async def _chain(config: Config, master: Sequence[Instrument], feed: "AngelOneFeed") -> list[Instrument]:
    """Each underlying, and its options of the nearest expiries around the money."""
    underlyings: list[Instrument] = []
    for symbol in config.live.symbols:
        named = [one for one in master if one.symbol == symbol and one.kind in (Kind.INDEX, Kind.EQUITY)]
        if not named:
            raise ConfigInvalid(f"live.symbols: {symbol} is not in Angel One's scrip master of today")
        underlyings.append(named[0])
    chosen: list[Instrument] = []
    spots = await asyncio.gather(*(feed.last_price(underlying.id) for underlying in underlyings))
    for underlying, spot in zip(underlyings, spots, strict=True):
        options = [one for one in master if one.underlying == underlying.id and one.expiry is not None]
        days = sorted({one.expiry for one in options if one.expiry})[: config.live.expiries]
        chosen.append(underlying)
        for day in days:
            of_day = [one for one in options if one.expiry == day]
            strikes = sorted({one.strike for one in of_day}, key=lambda strike: abs(strike - spot))
            near = set(strikes[: 2 * config.live.strikes])
            chosen += sorted((one for one in of_day if one.strike in near), key=lambda one: (one.strike, one.id))
    return chosen


# ---------------------------------------------------------------- Alpaca
async def _alpaca(config: Config, state: Path, before: Before) -> Live:
    from angelx.adapters.alpaca.client import AlpacaClient
    from angelx.adapters.alpaca.credentials import Credentials
    from angelx.adapters.alpaca.feed import AlpacaFeed
    from angelx.adapters.alpaca.rest import budget

    keys = Credentials(*credentials_of(config).values())
    live, ways, random = config.live, _Ways(config.live.base_url), Random(config.seed)
    sessions = Sessions.load(trade_special_sessions=config.market.trade_special_sessions)
    if live.feed == "iex" and not live.allow_iex:
        raise ConfigInvalid("live.feed: iex shows one exchange's quotes; live.allow_iex: true trades on them anyway")
    try:
        trading = ways.to(ALPACA["paper" if live.paper_account else "live"])
        clock = await _clock(config, trading)
        client = AlpacaClient(
            trading, keys, now=clock.now, random=random, cache=state / MASTERS, timeout_s=live.timeout_s,
            fee=fee_of(config, sessions), rate=budget(clock),
        )  # fmt: skip
        master = await client.instruments()
        table = InstrumentTable(before.chosen(master) or _shares(config, master))
        early = _heard(client)
        await client.connect(table)
        asked_at, held = await _held(client, clock)
        symbols = {one.id: one.symbol for one in table}
        feed = AlpacaFeed(
            ways.to(ALPACA["stream"]), ways.to(ALPACA["data"]), keys, feed=live.feed, symbol_of=symbols.get,
            now=clock.now, random=random, timeout_s=live.timeout_s, rate=budget(clock),
            is_open=lambda: sessions.phase(SHARES, clock.now()) == "open",
        )  # fmt: skip
    except BaseException:
        await ways.close()
        raise
    log.info("broker_connected", broker="alpaca", instruments=len(table))
    return Live(
        name="alpaca", client=client, feed=feed, table=table, clock=clock, scope=feed.scope, release=ways.close,
        early=early, asked_at=asked_at, held=held, keep_time=_keeper(config, trading, clock),
    )  # fmt: skip


def _shares(config: Config, master: Sequence[Instrument]) -> list[Instrument]:
    by_symbol = {one.symbol: one for one in master if one.kind is Kind.EQUITY}
    missing = [symbol for symbol in config.live.symbols if symbol not in by_symbol]
    if missing:
        raise ConfigInvalid(f"live.symbols: {', '.join(missing)} is not among Alpaca's active shares")
    return [by_symbol[symbol] for symbol in config.live.symbols]
