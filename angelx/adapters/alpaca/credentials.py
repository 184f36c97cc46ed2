"""The account's keys: they go into headers and log-ins, and nowhere else."""

from typing import Final

HIDDEN: Final = "***"


class Credentials:
    """Key and secret. Neither shows in `repr`, `str` or an error that went through `redact`."""

    __slots__ = ("_key", "_secret")

    def __init__(self, key: str, secret: str) -> None:
        if not key or not secret:
            raise ValueError("an Alpaca account needs a key and a secret")
        self._key, self._secret = key, secret

    def __repr__(self) -> str:
        return f"Credentials({HIDDEN})"

    def __reduce__(self) -> str:
        raise TypeError("credentials are not written anywhere")

    def headers(self) -> dict[str, str]:
        """For requests."""
        return {"apca-api-key-id": self._key, "apca-api-secret-key": self._secret}

    def order_stream_login(self) -> dict[str, object]:
        """First message of the order stream."""
        return {"action": "authenticate", "data": {"key_id": self._key, "secret_key": self._secret}}

    def data_stream_login(self) -> dict[str, object]:
        """First message of a market data stream."""
        return {"action": "auth", "key": self._key, "secret": self._secret}

    def redact(self, text: str) -> str:
        """The text without key and secret."""
        return text.replace(self._secret, HIDDEN).replace(self._key, HIDDEN)
