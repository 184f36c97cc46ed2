"""What must be true before orders go to a real broker: credentials, a way to it, clocks that agree, our address."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from email.utils import parsedate_to_datetime
from typing import Final

from angelx.app.brokers import ALPACA, ANGELONE, CREDENTIALS, credentials_of
from angelx.app.config import Config
from angelx.app.doctor import Check
from angelx.bus.clock import SystemClock
from angelx.domain.errors import AngelxError, ConfigInvalid
from angelx.domain.scalars import NS
from angelx.domain.wire import Response

TIMEOUT_S: Final = 5.0
MOST_SKEW_S: Final = 2.0
"""Their `Date` has whole seconds: less is no news. One-time passwords stand 30 s, books are merged by time."""


def broker_checks(config: Config) -> Iterator[Check]:
    """Looks of an account at a real broker; none for paper. No secret is shown, none is sent."""
    if config.broker == "paper":
        return
    yield _credentials(config)
    yield from asyncio.run(_reached(config))
    if config.broker == "angelone" and config.live.base_url is None:
        yield Check(
            "static address", "warn", "nothing here can tell which address is registered with the app",
            "SmartAPI takes orders from registered static addresses only (at most two): compare `curl ifconfig.me` "
            "with My Apps at smartapi.angelone.in; a refused one answers AG7002 to the first order",
        )  # fmt: skip


def _credentials(config: Config) -> Check:
    names = CREDENTIALS[config.broker]
    missing = [name for name in names if getattr(config.secrets, name) is None]
    if missing:
        where = f"ANGELX_{missing[0].upper()}, or {config.credentials.directory}/{missing[0]} with mode 0600"
        return Check("credentials", "fail", f"missing: {', '.join(missing)}", f"set {where}")
    try:
        credentials_of(config)
    except ConfigInvalid as error:
        return Check("credentials", "fail", str(error), "copy it again from where the broker shows it")
    return Check("credentials", "ok", f"{len(names)} found, none shown")


def hosts_of(config: Config) -> Sequence[str]:
    """Where a broker is asked, by configuration."""
    if config.live.base_url is not None:
        return [config.live.base_url]
    if config.broker == "angelone":
        return list(ANGELONE.values())
    return [ALPACA["paper" if config.live.paper_account else "live"], ALPACA["data"], ALPACA["stream"]]


async def _reached(config: Config) -> list[Check]:
    """One request without any credential to each host; the first answer's `Date` beside our clock."""
    checks: list[Check] = []
    for host in hosts_of(config):
        sent = time.monotonic_ns()
        try:
            answer = await _asked(host)
        except AngelxError as error:
            remedy = "check the network, a proxy, and live.base_url" if config.live.base_url else "check the network"
            checks.append(Check("broker", "fail", f"{host}: {error}", remedy))
            continue
        took_ms = (time.monotonic_ns() - sent) / 1e6
        checks.append(Check("broker", "ok", f"{host} answers in {took_ms:.0f} ms"))
        if not any(check.name == "broker's clock" for check in checks):
            checks.append(_skew(answer))
    return checks


async def _asked(host: str) -> Response:
    from angelx.adapters.http_transport import HttpTransport

    transport = HttpTransport(host)
    try:
        return await transport.request("GET", "/", headers={}, timeout_s=TIMEOUT_S)
    finally:
        await transport.close()


def _skew(answer: Response) -> Check:
    name, remedy = "broker's clock", "run chrony or systemd-timesyncd"
    try:
        theirs = parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
    except (TypeError, ValueError):
        return Check(name, "warn", "its answer has no Date to compare with", remedy)
    ahead_s = SystemClock().now() / NS - theirs - 0.5  # Date is cut to the second: half of one is the fairest guess.
    if abs(ahead_s) > MOST_SKEW_S:
        return Check(name, "fail", f"ours is {ahead_s:+.1f} s from the broker's", remedy)
    return Check(name, "ok", f"within {MOST_SKEW_S:g} s of the broker's")
