"""A venue put together: one process with sockets, its log, its control address."""

import asyncio
import json
import shutil
import ssl
import sys
from asyncio.subprocess import DEVNULL
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from angelx.adapters.http_transport import HttpTransport
from angelx.app import venue as venue_module
from angelx.app.venue import BROKERS, Broker, Venue, VenuePlan, server_of
from angelx.cli.main import app
from angelx.domain.errors import InputInvalid, StateLocked
from angelx.domain.scalars import NS
from angelx.domain.wire import Request, Response, Stream
from angelx.venue.exchange import Exchange, OrderRequest, Policy
from angelx.venue.faults import Fault
from angelx.venue.keeping import Keeper
from tests.adapters.recorded_files import QUOTE_BARS, US_OPEN, quote_bar, write


class Credentials(msgspec.Struct):
    key: str


class SmallServer:
    """Buys one share at `POST /buy`, answers the market's time at `GET /now`."""

    def __init__(self, exchange: Exchange, *, credentials: Credentials, now: Callable[[], int], random: Random) -> None:
        self.exchange, self.credentials, self.now = exchange, credentials, now
        self.expired = 0
        self.kept = Keeper()
        self.notes: dict[str, Any] = {}

    def restore(self, kept: Mapping[str, Any]) -> None:
        self.notes = dict(kept)

    async def handle(self, request: Request) -> Response:
        if request.path == "/keep":
            self.kept.put("note", [request.body.decode()])
            return Response(200, {}, b"")
        if request.path == "/buy":
            name = next(one.id for one in self.exchange.table if one.kind == "equity")
            order = self.exchange.submit(OrderRequest(instrument=name, side=1, quantity=1, kind="market", tif="DAY"))
            return Response(200, {}, order.id.encode())
        return Response(200, {}, str(self.now()).encode())

    def admits(self, request: Request) -> Response | None:
        return Response(404, {}, b"")

    async def serve(self, request: Request, stream: Stream) -> None: ...

    def expire_tokens(self) -> None:
        self.expired += 1


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> None:
    small = Broker(f"{__name__}:SmallServer", "USD", Policy(), lambda random: {"key": str(random.random())})
    sys.modules.setdefault(__name__, sys.modules[SmallServer.__module__])
    monkeypatch.setattr(venue_module, "BROKERS", {"small": small})


def plan(tmp_path: Path, **options: Any) -> VenuePlan:
    return VenuePlan(brokers=("small",), speed=20.0, state_dir=tmp_path, **options)


@pytest.mark.usefixtures("broker")
async def test_a_venue_trades_restarts_and_goes_on(tmp_path: Path) -> None:
    first = Venue(plan(tmp_path))
    ready = await first.start()
    assert not ready["resumed"]
    client = HttpTransport(ready["servers"]["small"]["url"])

    async def use() -> None:
        await asyncio.sleep(0.3)
        assert (await client.request("POST", "/buy", headers={}, timeout_s=5)).status == 200
        await client.request("POST", "/keep", headers={}, body=b"well", timeout_s=5)
        now = int((await client.request("GET", "/now", headers={}, timeout_s=5)).body)
        assert 1 < (now - ready["servers"]["small"]["now"]) / NS < 60
        first.stop()

    await asyncio.gather(first.run(), use())
    await client.close()
    ended = await first.close()
    assert ended["servers"]["small"]["orders"] == {"filled": 1}

    again = Venue(plan(tmp_path, resume=True))
    await again.start()
    at = again.lanes["small"].exchange.now
    assert again._inner["small"].notes == {"note": ["well"]}  # type: ignore[attr-defined]
    again.stop()
    await again.run()
    went_on = await again.close()
    found, left = went_on["servers"]["small"], ended["servers"]["small"]
    assert (found["positions"], found["orders"]) == (left["positions"], {"filled": 1})
    assert at <= left["now"]

    fresh = Venue(plan(tmp_path))
    await fresh.start()
    second = Venue(plan(tmp_path))
    with pytest.raises(StateLocked):
        await second.start()
    await second.close()
    assert fresh.lanes["small"].exchange.orders() == []
    await fresh.close()
    assert (tmp_path / "venue.old").exists()


@pytest.mark.usefixtures("broker")
async def test_faults_reach_the_server_the_clock_and_the_exchange(tmp_path: Path) -> None:
    venue = Venue(plan(tmp_path, faults=(Fault(what="status", status=429, times=1),)))
    ready = await venue.start()
    client = HttpTransport(ready["servers"]["small"]["url"])
    control = HttpTransport(ready["control"]["url"])
    key = {"authorization": f"Bearer {ready['control']['token']}"}

    async def put(what: str, **keys: Any) -> int:
        body = json.dumps({"what": what, **keys}).encode()
        return (await control.request("POST", "/venue/faults", headers=key, body=body, timeout_s=5)).status

    async def use() -> None:
        assert (await client.request("GET", "/now", headers={}, timeout_s=5)).status == 429
        before = int((await client.request("GET", "/now", headers={}, timeout_s=5)).body)
        assert await put("clock_offset", offset_s=3600) == 201
        after = int((await client.request("GET", "/now", headers={}, timeout_s=5)).body)
        assert after - before > 3000 * NS
        assert await put("token_expiry") == 201
        assert venue._inner["small"].expired == 1  # type: ignore[attr-defined]
        assert await put("reject_burst") == 201
        await asyncio.sleep(0.3)
        order = (await client.request("POST", "/buy", headers={}, timeout_s=5)).body.decode()
        found = venue.lanes["small"].exchange.order(order)
        assert found is not None and (found.status, found.code) == ("rejected", "injected")
        assert await put("nonsense") == 400
        venue.stop()

    await asyncio.gather(venue.run(), use())
    await client.close()
    await control.close()
    await venue.close()


def test_a_server_that_is_not_there_is_named() -> None:
    nowhere = Broker("angelx.no_such_module:X", "USD", Policy(), lambda _: {})
    with pytest.raises(InputInvalid, match="no_such_module"):
        server_of(nowhere, None, {}, now=lambda: 0, random=Random(1))  # type: ignore[arg-type]


@pytest.mark.usefixtures("broker")
def test_a_market_without_what_the_broker_trades_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dollars = venue_module.BROKERS["small"]
    monkeypatch.setattr(venue_module, "BROKERS", {"small": Broker(dollars.server, "EUR", Policy(), lambda _: {})})
    with pytest.raises(InputInvalid, match="nothing in EUR"):
        Venue(plan(tmp_path))


@pytest.mark.usefixtures("broker")
def test_a_fault_at_a_server_that_nobody_has_is_refused(tmp_path: Path) -> None:
    """It would never happen, and nobody would be told."""
    with pytest.raises(InputInvalid, match="server 'smal' is none of small"):
        Venue(plan(tmp_path, faults=(Fault(what="mute", server="smal"),)))


def test_demo_credentials_follow_the_seed_and_satisfy_pyotp() -> None:
    import pyotp

    first, second = (BROKERS["angelone"].credentials(Random("a")) for _ in range(2))
    assert first == second
    assert len(pyotp.TOTP(first["totp_secret"]).at(0)) == 6


@pytest.mark.parametrize("arguments", [["--broker", "nobody"], ["--day", "soon"], ["--market", "/no/such/file"]])
def test_a_bad_command_line_is_answered_with_its_reason(arguments: list[str], tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["venue", "--json", "--state-dir", str(tmp_path), *arguments])
    assert done.exit_code == 2
    assert not json.loads(done.stdout)["ok"]


def test_a_fault_without_a_venue_says_so(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["venue-fault", "mute", "--state-dir", str(tmp_path)])
    assert done.exit_code == 2 and "no venue runs" in done.stderr


@pytest.mark.usefixtures("broker")
async def test_a_venue_speaks_tls_where_it_is_given_a_certificate(tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs openssl to make a certificate")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    wish = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-keyout", str(key), "-out")
    await (await asyncio.create_subprocess_exec(openssl, *wish, str(certificate), stderr=DEVNULL)).wait()
    venue = Venue(plan(tmp_path / "state", tls=(certificate, key)))
    ready = await venue.start()
    address = ready["servers"]["small"]
    assert (address["url"][:8], address["stream"][:6]) == ("https://", "wss://")
    trusts = ssl.create_default_context(cafile=str(certificate))
    port = int(address["url"].rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusts, server_hostname="localhost")
    writer.write(b"GET /now HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    writer.close()
    await venue.close()
    with pytest.raises(InputInvalid, match="no certificate"):
        Venue(plan(tmp_path / "other", tls=(key, key)))


@pytest.mark.parametrize(("brokers", "said"), [(("angelone",), "INR"), (("alpaca", "angelone"), "INR")])
def test_a_market_of_another_currency_says_who_could_trade_it(
    tmp_path: Path, brokers: tuple[str, ...], said: str
) -> None:
    market = write(tmp_path / "quotes.parquet", QUOTE_BARS, [quote_bar(US_OPEN, "IBM", 179.9, 180.1)])
    wanted = f"nothing in {said} that angelone could trade: --broker alpaca could"
    with pytest.raises(InputInvalid, match=wanted):
        Venue(VenuePlan(brokers=brokers, market=str(market), state_dir=tmp_path))
