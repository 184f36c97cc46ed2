"""Time of day (SPEC 4.2): which part of its own session an instrument is in; outside of it nothing is entered.

Windows count from that session's own open and close in exchange time: opening to 75 minutes after the open, morning to
165, midday to 285, closing from 15 minutes before the close, afternoon between. On NSE as it was (09:15 to 15:30) they
end at 10:30, 12:00, 14:00, 15:15 and 15:30. In a short session closing goes first, then those from the open.
"""

from typing import Final

from angelx.domain.events import Signal
from angelx.market.sessions import CLOSING_MINUTES, MINUTE, WINDOW_ENDS, WindowName
from angelx.signals.filters.base import Answer, Refusal, Scene, Window, within

NEVER: Final = 1 << 62


def window_name(now: int, opens_at: int, closes_at: int) -> WindowName | None:
    """The window that `now` lies in, all in ns; `None` outside [opens_at, closes_at)."""
    if not opens_at <= now < closes_at:
        return None
    if now >= closes_at - CLOSING_MINUTES * MINUTE:
        return "closing"
    for name, ends in WINDOW_ENDS:
        if now < opens_at + ends * MINUTE:
            return name
    return "afternoon"


def window_ends(now: int, opens_at: int, closes_at: int) -> int:
    """The time after `now` at which another window may begin; `NEVER` where none does."""
    edges = [opens_at + ends * MINUTE for _, ends in WINDOW_ENDS]
    edges += (opens_at, closes_at - CLOSING_MINUTES * MINUTE, closes_at)
    return min((edge for edge in edges if edge > now), default=NEVER)


class TimeOfDayFilter:
    """Entries only inside the instrument's session; each window multiplies the bias threshold.

    Parameters
    ----------
    opening, morning, midday, afternoon, closing
        Multipliers, in [0.1, 10].
    """

    name = "time_of_day"

    def __init__(
        self,
        *,
        opening: float = 1.3,
        morning: float = 1.0,
        midday: float = 0.8,
        afternoon: float = 1.1,
        closing: float = 1.5,
    ) -> None:
        given: dict[WindowName, float] = {
            "opening": opening, "morning": morning, "midday": midday, "afternoon": afternoon, "closing": closing,
        }  # fmt: skip
        self._windows = {key: Window(key, within(self.name, key, value, 0.1, 10)) for key, value in given.items()}

    def window(self, now: int, opens_at: int, closes_at: int) -> Window | None:
        """The window with its multiplier; `None` outside the session."""
        name = window_name(now, opens_at, closes_at)
        return None if name is None else self._windows[name]

    def __call__(self, signal: Signal, scene: Scene) -> Answer:
        if scene.window is None:
            return Refusal("outside_session", f"{scene.now} is not in [{scene.opens_at}, {scene.closes_at})")
        return 1.0
