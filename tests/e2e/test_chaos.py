"""Chaos: one daemon at both brokers, round after round with faults drawn from a seed and kills of either side.

`make chaos SEEDS="1 2 3"` plays these seeds, some four minutes each. What a seed draws is the same every time;
what it meets is not, for processes run on the host's clock. How fast the venue's time passes is of the seed too:
`make chaos SEEDS=1 SPEED=100` has it otherwise.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.e2e.live_rig import BROKERS, HALTED, Rig, agree, proven

pytestmark = pytest.mark.slow
SEEDS = [int(seed) for seed in os.environ.get("ANGELX_CHAOS", "").split()]
ROUNDS = {1.0: 6, 30.0: 6, 100.0: 3}
"""By speed: at the highest a session is over in under four minutes."""
SPEED = float(os.environ.get("ANGELX_CHAOS_SPEED", "0"))
PLACES = {"angelone": "*/placeOrder", "alpaca": "/v2/orders"}


def _some(rng: Random, broker: str) -> dict[str, Any]:
    """A share of all requests, or the next few orders."""
    if rng.random() < 0.5:
        return {"rate": rng.uniform(0.05, 0.4)}
    return {"where": PLACES[broker], "method": "POST", "times": rng.randint(1, 3)}


DRAWS: dict[str, Callable[[Random, str], dict[str, Any]]] = {
    "lost_request": _some,
    "lost_reply": _some,
    "slow_reply": lambda rng, broker: {"rate": rng.uniform(0.05, 0.4), "delay_s": rng.uniform(0.1, 3)},
    "status": lambda rng, broker: {
        "status": rng.choice([403, 429, 500, 502, 503]), "rate": rng.uniform(0.05, 0.3), "done": rng.random() < 0.5
    },
    "mute": lambda rng, broker: {"for_s": rng.uniform(1, 8)},
    "disconnect": lambda rng, broker: {"for_s": rng.uniform(0.1, 6)},
    "lost_event": lambda rng, broker: {"rate": rng.uniform(0.1, 0.5)},
    "duplicate": lambda rng, broker: {"rate": rng.uniform(0.1, 0.5)},
    "reorder": lambda rng, broker: {"rate": rng.uniform(0.1, 0.5)},
}  # fmt: skip


@pytest.mark.skipif(not SEEDS, reason="asked for with: make chaos SEEDS=1")
@pytest.mark.parametrize("seed", SEEDS or [0])
def test_both_sides_agree_after_chaos(seed: int, tmp_path: Path) -> None:
    speed = SPEED or sorted(ROUNDS)[seed % len(ROUNDS)]
    rng, rig = Random(seed), Rig(tmp_path, speed)
    try:
        rig.start_venue()
        rig.start_daemon()
        rig.trade(4)
        for _ in range(ROUNDS.get(speed, 6)):
            _round(rng, rig)
        rig.settle()
        rig.end_daemon(code=HALTED)
        agree(rig)
        proven(rig)
    finally:
        rig.close()


def _round(rng: Random, rig: Rig) -> None:
    """Trouble, perhaps the end of a process, and then trade again."""
    for broker in BROKERS:
        for _ in range(rng.randint(1, 4)):
            what = rng.choice(sorted(DRAWS))
            rig.fault(what=what, server=broker, **DRAWS[what](rng, broker))
    time.sleep(rng.uniform(8, 20))  # noqa: TID251 - the faults last by the host's clock
    end = rng.random()
    if end < 0.3:
        rig.kill(rig.daemon)
        rig.end_faults()
        rig.start_daemon()
    elif end < 0.5:
        rig.kill(rig.venue)
        time.sleep(rng.uniform(0.1, 5))  # noqa: TID251 - as long as it is gone
        rig.start_venue("--resume")
    rig.end_faults()
    for broker in BROKERS:
        if rig.level(broker) != "running":
            rig.ask(broker, "resume", "--reason", "chaos goes on")
    rig.trade(3, 120)
