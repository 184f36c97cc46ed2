"""The checks of a real broker's account: each is shown the good and the bad, on a real socket."""

import asyncio
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from angelx.adapters.http_server import HttpServer
from angelx.app.brokers import credentials_of
from angelx.app.config import Config, load_config
from angelx.app.doctor import Check
from angelx.app.doctor_broker import broker_checks, hosts_of
from angelx.bus.clock import SystemClock
from angelx.domain.errors import ConfigInvalid
from angelx.domain.wire import Request, Response, Stream

KEYS = {"ANGELX_ALPACA_KEY_ID": "PK-SECRET", "ANGELX_ALPACA_SECRET_KEY": "VERY-SECRET"}


class Dated:
    """Answers everything with 404 and a date that may be wrong."""

    def __init__(self) -> None:
        self.ahead_s = 0.0
        self.asked: list[Request] = []

    async def handle(self, request: Request) -> Response:
        self.asked.append(request)
        at = datetime.fromtimestamp(SystemClock().now() / 1e9, UTC) + timedelta(seconds=self.ahead_s)
        return Response(404, {"date": format_datetime(at, usegmt=True)}, b"")

    async def serve(self, request: Request, stream: Stream) -> None: ...

    def admits(self, request: Request) -> Response | None:
        return None


@pytest.fixture
def dated() -> Iterator[tuple[Dated, str]]:
    server, loop = Dated(), asyncio.new_event_loop()
    socket = HttpServer(server)
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(socket.start(), loop).result(5)
    yield server, socket.url
    asyncio.run_coroutine_threadsafe(socket.stop(), loop).result(5)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)
    loop.close()


def config(url: str | None, environ: dict[str, str] = KEYS, broker: str = "alpaca") -> Config:
    currency = "USD" if broker == "alpaca" else "INR"
    values = {"broker": broker, "currency": currency, "live.base_url": url, "credentials.directory": "/nowhere"}
    return load_config(None, values, environ=environ)


def named(checks: list[Check], name: str) -> Check:
    return next(check for check in checks if check.name == name)


def test_a_broker_that_answers_on_time(dated: tuple[Dated, str]) -> None:
    server, url = dated
    checks = list(broker_checks(config(url)))
    assert [check.status for check in checks] == ["ok", "ok", "ok"]
    assert "SECRET" not in str(checks)
    assert not any("SECRET" in str(request.headers) for request in server.asked)


@pytest.mark.parametrize("ahead_s", [-30.0, 30.0])
def test_a_clock_that_is_wrong(dated: tuple[Dated, str], ahead_s: float) -> None:
    server, url = dated
    server.ahead_s = ahead_s
    found = named(list(broker_checks(config(url))), "broker's clock")
    assert found.status == "fail"
    assert found.detail.startswith("ours is -" if ahead_s > 0 else "ours is +")


def test_nobody_there_and_no_credentials() -> None:
    checks = list(broker_checks(config("http://127.0.0.1:9", environ={})))
    assert named(checks, "credentials").status == "fail"
    assert "alpaca_key_id" in named(checks, "credentials").detail
    assert named(checks, "broker").status == "fail"


ANGELONE = {
    "ANGELX_ANGELONE_API_KEY": "key", "ANGELX_ANGELONE_CLIENT_CODE": "A1", "ANGELX_ANGELONE_PIN": "1234",
    "ANGELX_ANGELONE_TOTP_SECRET": "jbsw y3dp ehpk 3pxp jbsw y3dp eh",
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "secret", "says"),
    [
        ("ANGELX_ANGELONE_TOTP_SECRET", "123456", "base32"),
        ("ANGELX_ANGELONE_TOTP_SECRET", "JBSWY3DPEHPK3PXP", "112 bits"),
        ("ANGELX_ANGELONE_PIN", "12\n34", "angelone_pin has a line end"),
        ("ANGELX_ANGELONE_API_KEY", "kéy", "angelone_api_key"),
        ("ANGELX_ANGELONE_CLIENT_CODE", " A1", "angelone_client_code"),
    ],
)
def test_what_cannot_be_a_credential_is_named_and_not_shown(name: str, secret: str, says: str) -> None:
    good, bad = (
        config("http://127.0.0.1:9", environ, "angelone") for environ in (ANGELONE, {**ANGELONE, name: secret})
    )
    assert named(list(broker_checks(good)), "credentials").status == "ok"
    found = named(list(broker_checks(bad)), "credentials")
    assert found.status == "fail"
    assert says in found.detail
    assert secret not in found.detail
    with pytest.raises(ConfigInvalid, match=says):
        credentials_of(bad)


def test_paper_needs_no_broker() -> None:
    assert not list(broker_checks(load_config(None, environ={})))


def test_hosts_of_the_brokers_themselves() -> None:
    assert hosts_of(config(None))[0] == "https://paper-api.alpaca.markets"
    assert all(host.startswith("https://") for host in hosts_of(config(None, {}, "angelone")))
