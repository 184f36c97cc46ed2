"""A strategy that needs no option chain: what is tested with it is the house, in seconds."""

from typing import ClassVar

from angelx.domain.instruments import Kind
from angelx.domain.scalars import SCALE
from angelx.domain.ticks import ASK, BID
from angelx.signals.strategy import Strategy


class Plain(Strategy):
    """Buys a cheap option every ten minutes, another each time, and holds it for five."""

    every_s: ClassVar[float] = 60.0

    def start(self) -> None:
        table = self.desk.instruments
        self._places = [place for place, one in enumerate(table) if one.kind is Kind.OPTION]
        self._turn = 0

    def on_timer(self) -> None:
        held = [place for place in self._places if self.desk.position(place)]
        self._turn += 1
        if self._turn % 10 == 5:
            for place in held:
                self.desk.flat(place, why="enough")
        elif self._turn % 10 == 0 and not held:
            self._enter()

    def _enter(self) -> None:
        view = self.desk.market.view
        count = len(self._places)
        for step in range(count):
            place = self._places[(self._turn // 10 * 7 + step) % count]
            bid, ask = view[BID, place], view[ASK, place]
            if bid > 0 and 5 * SCALE < ask < 60 * SCALE:
                self.desk.long(place, why=f"turn {self._turn}")
                return
