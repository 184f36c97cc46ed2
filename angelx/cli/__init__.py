"""The commands: thin."""

import signal
import sys

if sys.argv[1:2] == ["run"]:
    # Half a second of imports goes by before anybody listens: HALT and FLATTEN wait for `Standby`, which unblocks them.
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP))
