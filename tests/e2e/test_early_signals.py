"""HALT asked for while the daemon is still importing itself is latched; it does not end the process."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from angelx.adapters.latch import HALT, Latch
from tests.e2e.program import ROOT, SMALL, UNREPORTED, environment

STATUS = Path("/proc/self/status")


def awaits(process: "subprocess.Popen[bytes]", number: signal.Signals) -> bool:
    """True once the process blocks the signal or catches it."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    masks = (line.split()[1] for line in status.splitlines() if line.startswith(("SigBlk", "SigCgt")))
    return any(int(mask, 16) >> (number - 1) & 1 for mask in masks)


@pytest.mark.skipif(not STATUS.exists(), reason="needs /proc to see what a process waits for")
def test_a_halt_during_the_imports_is_kept_for_the_session(tmp_path: Path) -> None:
    words = ("run", "--state-dir", str(tmp_path / "state"), "--speed", "50", *SMALL, *UNREPORTED, "--json")
    process = subprocess.Popen(
        (sys.executable, "-m", "angelx", *words), cwd=tmp_path, env={**environment(), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until = time.monotonic() + 30
        while not awaits(process, signal.SIGUSR1) and time.monotonic() < until:
            time.sleep(0.002)  # noqa: TID251
        for number in (signal.SIGHUP, signal.SIGUSR1):
            process.send_signal(number)
        while not (tmp_path / "state" / "admin").exists() and time.monotonic() < until:
            assert process.poll() is None
            time.sleep(0.05)  # noqa: TID251
        assert Latch.load(tmp_path / "state").level == HALT
        process.terminate()
        assert process.wait(30) == 78
    finally:
        process.kill()
        process.communicate()
