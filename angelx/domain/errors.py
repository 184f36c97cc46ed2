"""Errors, each a class named for the reaction it asks for."""


class AngelxError(Exception):
    """Everything angelx raises on purpose."""


class BrokerError(AngelxError):
    """A broker did not do what was asked."""


class BrokerUnreachable(BrokerError):
    """Nothing left this machine: the caller may retry or fail over."""


class OrderRejected(BrokerError):
    """The broker refused the order: tell the strategy, do not resend."""


class OrderFateUnknown(BrokerError):
    """The request left but no answer came: the order may be live. Look it up, never resend."""

    def __init__(self, order: str, why: str) -> None:
        super().__init__(f"fate of order {order} unknown: {why}")
        self.order = order


class AuthExpired(BrokerError):
    """The session is over: log in again."""


class RateLimited(BrokerError):
    """Too many requests: wait `wait_s` seconds."""

    def __init__(self, why: str, wait_s: float) -> None:
        super().__init__(why)
        self.wait_s = wait_s


class ConfigInvalid(AngelxError):
    """The configuration cannot be used: correct it and start again (exit 64)."""


class InputInvalid(AngelxError):
    """A file or argument a person named cannot be used: the message names it and says why (exit 2)."""


class JournalBroken(AngelxError):
    """A journal does not verify or cannot be read; the message names the record."""


class JournalFull(AngelxError):
    """The journal could not be written (full disk, I/O error): nothing may be sent any more."""


class StateLocked(AngelxError):
    """Another process holds this state directory (exit 75)."""


class Halted(AngelxError):
    """The kill switch is latched: resume with a reason first (exit 78)."""
