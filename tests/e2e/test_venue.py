"""The venue as a process of its own: killed in the middle and started again, it knows what it knew."""

import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("angelx.venue.alpaca.server")

Ready = dict[str, Any]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@contextmanager
def venue(state: Path, port: int, *more: str) -> Iterator[tuple["subprocess.Popen[str]", Ready]]:
    command = [
        sys.executable, "-m", "angelx", "venue", "--broker", "alpaca", "--speed", "20", "--json", "--state-dir",
        str(state), "--port-alpaca", str(port), *more,
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process, json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


class Client:
    def __init__(self, ready: Ready) -> None:
        server = ready["servers"]["alpaca"]
        keys = server["credentials"]
        self._url = server["url"]
        self._headers = {"APCA-API-KEY-ID": keys["key_id"], "APCA-API-SECRET-KEY": keys["secret_key"]}

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        content = json.dumps(body).encode() if body else None
        request = urllib.request.Request(self._url + path, method=method, headers=self._headers, data=content)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read())

    def buy(self, number: int) -> Any:
        symbol, limit = (("AAPL", "229.50"), ("IBM", "234.00"), ("KO", "63.50"))[number % 3]
        order = {"symbol": symbol, "qty": "1", "side": "buy", "client_order_id": f"c{number}"}
        if number % 2:
            return self.ask(
                "POST", "/v2/orders", order | {"type": "limit", "limit_price": limit, "time_in_force": "gtc"}
            )
        return self.ask("POST", "/v2/orders", order | {"type": "market", "time_in_force": "day"})

    def books(self) -> tuple[Any, Any, Any]:
        held = [(one["symbol"], one["qty"], one["avg_entry_price"]) for one in self.ask("GET", "/v2/positions")]
        return held, self.ask("GET", "/v2/orders?status=all&limit=500"), self.ask("GET", "/v2/account/activities/FILL")


def test_a_venue_that_is_killed_and_started_again_has_the_same_books(tmp_path: Path) -> None:
    port = free_port()
    with venue(tmp_path, port) as (process, ready):
        client = Client(ready)
        for number in range(20):
            client.buy(number)
        before = client.books()
        process.send_signal(signal.SIGKILL)
        process.wait()
    with venue(tmp_path, port, "--resume") as (process, ready):
        client = Client(ready)
        after = client.books()
        assert len(after[1]) == 20 and after[2]
        # What was working may have filled while the books were read, before or after the kill; nothing is lost.
        known = {one["id"]: one for one in after[1]}
        assert set(known) == {one["id"] for one in before[1]}
        assert all(one["status"] != "filled" or known[one["id"]] == one for one in before[1])
        assert {one["id"] for one in before[2]} <= {one["id"] for one in after[2]}
        with pytest.raises(urllib.error.HTTPError) as refused:
            client.buy(3)
        assert refused.value.code == 422
        refused.value.close()
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        ended = json.loads(process.stdout.readline())
        assert (ended["event"], process.wait(10)) == ("ended", 0)
        assert sum(ended["servers"]["alpaca"]["orders"].values()) == 20
