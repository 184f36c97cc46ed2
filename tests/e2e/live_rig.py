"""A venue and the daemon with a book at each of its brokers, as processes; and what both sides say they did."""

import base64
import hashlib
import hmac
import json
import signal
import sqlite3
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

from tests.e2e.program import angelx, environment, records, until

BROKERS = ("angelone", "alpaca")
SPEED = 30
"""Session seconds in one second, where a test does not say otherwise."""
HALTED = 78
"""Exit code of a daemon whose kill switch was on at its end."""
BUSY = '''
from angelx.signals.strategy import Strategy


class Busy(Strategy):
    """Buys what it does not hold and sells what it does, one instrument after the other, every few seconds."""

    every_s = EVERY_S

    def start(self):
        self.places = [place for place, one in enumerate(self.desk.instruments) if one.tradable][:4]
        self.turn = 0

    def on_timer(self):
        self.turn += 1
        place = self.places[self.turn % len(self.places)]
        if not self.desk.working(place):
            _ = self.desk.flat(place) if self.desk.position(place) else self.desk.long(place, why="busy")
'''
BOOK = """\
state_dir: {state}
broker: {broker}
currency: {currency}
capital: 1000000
strategies: [{{use: "{strategy}:Busy"}}]
filters: [{{use: session}}, {{use: freshness, max_age_s: 3600}}]
risk:
  {{fixed_units: {units}, max_order_fraction: 1, max_daily_trades: 1000000, max_positions: 1000, premium_at_risk: 1,
    daily_loss: 0.5, drawdown_stop: 0.6, orders_per_s: 1000, rejects_per_min: 1000, duplicate_window_s: 0,
    collar_ticks: 200, equities: {{spread_bps: 1000, name: 1}}, options: {{spread_ticks: 1000, spread_fraction: 1}}}}
chain: {{enabled: never}}
watchdog: {{stale_feed_s: 60, loop_lag_ms: 2000}}
live: {{base_url: "{url}", clock: venue, symbols: {symbols}, expiries: 1, strikes: 2}}
journal: {{block_records: 16, head_every_s: 0.5}}
log: {{level: info, format: json}}
"""
OF_BROKER: dict[str, dict[str, object]] = {
    "angelone": {"currency": "INR", "units": 65, "symbols": "[NIFTY]"},
    "alpaca": {"currency": "USD", "units": 3, "symbols": "[SPY, IBM]"},
}


class Rig:
    """Both processes, and what they print, under one directory; `speed` is that of the venue's time."""

    def __init__(self, directory: Path, speed: float = SPEED) -> None:
        self.directory, self.speed = directory, speed
        every_s = max(0.4 * speed, 1.0)  # About twice a second of the host, so that there is something to disturb.
        (directory / "busy.py").write_text(BUSY.replace("EVERY_S", f"{every_s:g}"))
        self.venue: subprocess.Popen[bytes] | None = None
        self.daemon: subprocess.Popen[bytes] | None = None
        self.ready: dict[str, Any] = {}
        self._starts = 0

    # ------------------------------------------------------------ processes
    def _start(self, name: str, *words: object, **more: str) -> "subprocess.Popen[bytes]":
        self._starts += 1
        out, err = (self.directory / f"{name}.{kind}" for kind in ("out", "err"))
        with out.open("ab") as standard, err.open("ab") as errors:
            return subprocess.Popen(
                [sys.executable, "-m", "angelx", *map(str, words)],
                cwd=self.directory,
                env={**environment(), **more},
                stdout=standard,
                stderr=errors,
            )

    def start_venue(self, *words: object) -> None:
        """A venue that answers; after the first time at the same addresses."""
        ports: list[object] = []
        if self.ready:
            for broker in BROKERS:
                ports += [f"--port-{broker}", self.ready["servers"][broker]["url"].rpartition(":")[2]]
        addresses = self.directory / "venue" / "venue.json"
        addresses.unlink(missing_ok=True)
        self.venue = self._start(
            "venue",
            "venue",
            "--state-dir",
            self.directory / "venue",
            "--speed",
            self.speed,
            "--capital",
            10_000_000,
            "--json",
            *ports,
            *words,
        )
        until(lambda: addresses.exists() or not self._is_alive(self.venue), 90)
        assert addresses.exists(), self.text("venue.err")
        self.ready = json.loads(addresses.read_text())

    def start_daemon(self) -> None:
        """A daemon that trades both books; it has placed an order in each when this returns."""
        words: list[object] = []
        for broker in BROKERS:
            file = self.directory / f"{broker}.yaml"
            filled = BOOK.format(
                state=self.state(broker), broker=broker, strategy=self.directory / "busy.py",
                url=self.ready["servers"][broker]["url"], **OF_BROKER[broker],
            )  # fmt: skip
            file.write_text(filled)
            words += ["-c", file]
        before = {broker: len(self.of(broker, "SessionStarted")) for broker in BROKERS}
        self.daemon = self._start("daemon", "run", *words, "--json", **self._secrets())

        def is_trading() -> bool:
            started = [len(self.of(broker, "SessionStarted")) > before[broker] for broker in BROKERS]
            return all(started) or not self._is_alive(self.daemon)

        until(is_trading, 120)
        assert self._is_alive(self.daemon), self.text("daemon.err")

    def _secrets(self) -> dict[str, str]:
        servers = self.ready["servers"]
        return {
            f"ANGELX_{broker}_{name}".upper(): secret
            for broker in BROKERS
            for name, secret in servers[broker]["credentials"].items()
        }

    @staticmethod
    def _is_alive(process: "subprocess.Popen[bytes] | None") -> bool:
        return process is not None and process.poll() is None

    def kill(self, process: "subprocess.Popen[bytes] | None") -> None:
        """SIGKILL."""
        assert process is not None
        assert process.poll() is None, self.text("daemon.err") + self.text("venue.err")
        process.kill()
        process.wait()

    def end_daemon(self, number: int = signal.SIGTERM, code: int = 0) -> dict[str, Any]:
        """Ask the daemon to end; what it says at the end, by broker."""
        assert self.daemon is not None
        if self.daemon.poll() is None:
            self.daemon.send_signal(number)
        assert self.daemon.wait(60) == code, self.text("daemon.err")[-6000:]
        last = json.loads(self.text("daemon.out").splitlines()[-1])
        return {book["source"].partition(":")[2]: book for book in last["books"]}

    def close(self) -> None:
        """End what still runs."""
        for process in (self.daemon, self.venue):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()

    def text(self, name: str) -> str:
        """What was printed."""
        file = self.directory / name
        return file.read_text() if file.exists() else ""

    # ------------------------------------------------------------ our side
    def state(self, broker: str) -> Path:
        """State directory of a book."""
        return self.directory / f"state-{broker}"

    def journal(self, broker: str) -> Path:
        """Journal of a book."""
        return self.state(broker) / "journal.db"

    def of(self, broker: str, *kinds: str) -> list[dict[str, Any]]:
        """Records of a book's journal."""
        try:
            return records(self.journal(broker), *kinds)
        except sqlite3.OperationalError:  # not there yet
            return []

    def ask(self, broker: str, *words: object) -> Any:
        """A command to a book of the running daemon."""
        done = angelx(*words, "--state-dir", self.state(broker), "--json", cwd=self.directory)
        return done.answer

    def signal(self, number: int) -> None:
        """To the daemon."""
        assert self.daemon is not None
        self.daemon.send_signal(number)

    @property
    def has_ended(self) -> bool:
        """The daemon."""
        return not self._is_alive(self.daemon)

    def level(self, broker: str) -> str:
        """Of a book's kill switch, as the daemon says."""
        return str(self.ask(broker, "status")["level"])

    def is_flat(self, broker: str) -> bool:
        """Nothing is held and nothing works, as the daemon says."""
        status = self.ask(broker, "status")
        return not status["positions"] and not status["working"]

    def trade(self, orders: int, timeout_s: float = 60) -> None:
        """Until each book has sent so many orders more."""
        goal = {broker: len(self.of(broker, "OrderApproved")) + orders for broker in BROKERS}

        def is_there() -> bool:
            for process, name in ((self.daemon, "daemon.err"), (self.venue, "venue.err")):
                assert self._is_alive(process), self.text(name)[-6000:]
            return all(len(self.of(broker, "OrderApproved")) >= goal[broker] for broker in BROKERS)

        until(is_there, timeout_s)

    def settle(self) -> None:
        """Entries end; an exit that rests because the market went away from it is brought to its end by hand."""
        for broker in BROKERS:
            self.ask(broker, "kill", "--reason", "the test settles")

        def rest() -> list[str]:
            return [broker for broker in BROKERS if self.ask(broker, "status")["working"]]

        waited = time.monotonic() + 20
        until(lambda: not rest() or time.monotonic() > waited, 45)
        for broker in rest():
            self.ask(broker, "flatten", "--reason", "an exit rests")
        until(lambda: not rest(), 45)

    # ------------------------------------------------------------ the venue's side
    def fault(self, **fault: object) -> None:
        """Put a fault on the menu."""
        control = self.ready["control"]
        _http("POST", control["url"] + "/venue/faults", fault, {"authorization": f"Bearer {control['token']}"})

    def happened(self) -> Counter[str]:
        """How often each fault on the menu has happened."""
        control = self.ready["control"]
        lines = _http("GET", control["url"] + "/venue/faults", None, {"authorization": f"Bearer {control['token']}"})
        found: Counter[str] = Counter()
        for line in lines:
            found[line["fault"]["what"]] += line["happened"]
        return found

    def end_faults(self) -> None:
        """Take all off."""
        control = self.ready["control"]
        _http("DELETE", control["url"] + "/venue/faults", None, {"authorization": f"Bearer {control['token']}"})

    def at_venue(self, broker: str) -> tuple[dict[str, int], dict[str, int]]:
        """Units filled by our order id, each id once; and positions by the broker's name of the instrument."""
        server = self.ready["servers"][broker]
        read = _alpaca if broker == "alpaca" else _angelone
        orders, positions = read(server["url"], server["credentials"])
        names = [name for name, _ in orders]
        assert len(names) == len(set(names)), [name for name, count in Counter(names).items() if count > 1]
        return dict(orders), positions


def _alpaca(url: str, secrets: dict[str, str]) -> tuple[list[tuple[str, int]], dict[str, int]]:
    headers = {"APCA-API-KEY-ID": secrets["key_id"], "APCA-API-SECRET-KEY": secrets["secret_key"]}
    orders = _http("GET", f"{url}/v2/orders?status=all&limit=500&direction=asc", None, headers)
    assert len(orders) < 500
    positions = _http("GET", f"{url}/v2/positions", None, headers)
    return (
        [(order["client_order_id"], int(order["filled_qty"])) for order in orders],
        {f"US:{line['symbol']}": int(line["qty"]) for line in positions},
    )


def _angelone(url: str, secrets: dict[str, str]) -> tuple[list[tuple[str, int]], dict[str, int]]:
    time.sleep(1.2)  # noqa: TID251 - one log-in and one book a second are allowed, and the daemon reads too
    headers = {"X-PrivateKey": secrets["api_key"]}
    body = {
        "clientcode": secrets["client_code"], "password": secrets["pin"], "totp": _totp(secrets["totp_secret"]),
    }  # fmt: skip
    answer = _http("POST", f"{url}/rest/auth/angelbroking/user/v1/loginByPassword", body, headers)
    token = answer["data"]["jwtToken"].removeprefix("Bearer ")
    headers["Authorization"] = f"Bearer {token}"
    books = f"{url}/rest/secure/angelbroking/order/v1"
    time.sleep(1.2)  # noqa: TID251 - the daemon may have read them a moment ago
    orders = _http("GET", f"{books}/getOrderBook", None, headers)["data"] or []
    positions = _http("GET", f"{books}/getPosition", None, headers)["data"] or []
    return (
        [(order["ordertag"], int(order["filledshares"])) for order in orders],
        {line["tradingsymbol"]: int(line["netqty"]) for line in positions if int(line["netqty"])},
    )


def _totp(secret: str) -> str:
    counter = struct.pack(">Q", int(time.time()) // 30)  # noqa: TID251 - one-time passwords are made by real clocks
    digest = hmac.new(base64.b32decode(secret), counter, hashlib.sha1).digest()
    start = digest[-1] & 15
    return f"{(int.from_bytes(digest[start : start + 4], 'big') & 0x7FFFFFFF) % 10**6:06d}"


def _http(method: str, url: str, body: object, headers: dict[str, str]) -> Any:
    request = urllib.request.Request(
        url, method=method, data=None if body is None else json.dumps(body).encode(),
        headers={"content-type": "application/json", **headers},
    )  # fmt: skip
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{method} {url}: {error.code} {error.read()[:500]!r}") from error


def agree(rig: Rig) -> dict[str, int]:
    """Hold both sides against each other, order by order and fill by fill; how many orders each book sent."""
    counts = {}
    for broker in BROKERS:
        filled, positions = rig.at_venue(broker)
        approved = {record["order"]: record for record in rig.of(broker, "OrderApproved")}
        assert len(approved) == len(rig.of(broker, "OrderApproved")), "no intent twice"
        assert set(filled) <= set(approved), "nobody else trades there"
        executions = [record["execution"] for record in rig.of(broker, "OrderFilled")]
        assert len(executions) == len(set(executions)), "no fill twice"
        ours: Counter[str] = Counter()
        held: Counter[str] = Counter()
        for fill in rig.of(broker, "OrderFilled"):
            ours[fill["order"]] += fill["quantity"]
            held[fill["instrument"]] += fill["side"] * fill["quantity"]
        assert {name: units for name, units in filled.items() if units} == dict(ours), broker
        assert sorted(units for units in held.values() if units) == sorted(positions.values()), broker
        never = set(approved) - set(filled)
        ended = {record["order"]: record["outcome"] for record in rig.of(broker, "OrderEnded")}
        assert never <= set(ended), f"{never - set(ended)} neither arrived nor ended"
        assert {ended[name] for name in never} <= {"rejected", "barred", "absent"}
        counts[broker] = len(approved)
    return counts


def proven(rig: Rig) -> None:
    """Journals are whole, decide the same again, and the reports are there."""
    for broker in BROKERS:
        journal = rig.journal(broker)
        verified = angelx("journal", "verify", journal, "--json", cwd=rig.directory).succeeded()
        assert verified.answer["ok"] is True
        replayed = angelx("journal", "replay", journal, "--json", cwd=rig.directory)
        assert replayed.answer["identical"] is True, replayed.answer
        assert (rig.state(broker) / "report.html").stat().st_size > 10_000
