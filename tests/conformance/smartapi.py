"""The official smartapi-python, tamed: its import asks the internet for our address, its objects write log files into
the current directory, and its hosts are constants.
"""

import importlib
import warnings
from typing import Any
from unittest import mock


def sdk() -> Any:
    """The package's main module, imported without asking anybody for our address."""
    with mock.patch("requests.get", side_effect=ConnectionError("no address is asked for")), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module("SmartApi.smartConnect")


def feed_class() -> Any:
    """`SmartWebSocketV2`."""
    sdk()
    from SmartApi.smartWebSocketV2 import SmartWebSocketV2

    return SmartWebSocketV2


def order_class() -> Any:
    """`SmartWebSocketOrderUpdate`."""
    sdk()
    from SmartApi.smartWebSocketOrderUpdate import SmartWebSocketOrderUpdate

    return SmartWebSocketOrderUpdate
