"""Questions gathered by number and by a real timer, in virtual time."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from angelx.adapters.gathered import Gathered
from angelx.domain.errors import BrokerUnreachable
from angelx.sim.loop import simulate


class Desk:
    """Answers doubles of even numbers a second after it was asked."""

    def __init__(self, most: int = 50) -> None:
        self.asked: list[tuple[float, tuple[int, ...]]] = []
        self.is_down = False
        self.gathered = Gathered(self.fetch, most=most, wait_s=0.05)

    async def fetch(self, keys: Sequence[int]) -> Mapping[int, int]:
        self.asked.append((round(asyncio.get_running_loop().time(), 6), tuple(keys)))
        await asyncio.sleep(1.0)
        if self.is_down:
            raise BrokerUnreachable("down")
        return {key: 2 * key for key in keys if key % 2 == 0}

    async def get(self, key: int, after_s: float = 0.0) -> int | None:
        await asyncio.sleep(after_s)
        return await self.gathered.get(key)


def test_what_comes_within_the_wait_goes_together_and_the_rest_in_the_next_question() -> None:
    async def body() -> None:
        desk = Desk()
        got = await asyncio.gather(
            desk.get(2), desk.get(4, 0.02), desk.get(4, 0.049), desk.get(3, 0.03), desk.get(6, 0.06)
        )
        assert list(got) == [4, 8, 8, None, 12]
        assert desk.asked == [(0.05, (2, 4, 3)), (0.11, (6,))]

    simulate(body)


def test_a_full_question_does_not_wait() -> None:
    async def body() -> None:
        desk = Desk(most=3)
        got = await asyncio.gather(*(desk.get(key) for key in range(0, 14, 2)))
        assert got == [0, 4, 8, 12, 16, 20, 24]
        assert desk.asked == [(0.0, (0, 2, 4)), (0.0, (6, 8, 10)), (0.05, (12,))]

    simulate(body)


def test_all_hear_why_there_is_no_answer_and_the_next_question_is_a_new_one() -> None:
    async def body() -> None:
        desk = Desk()
        desk.is_down = True
        got = await asyncio.gather(desk.get(2), desk.get(4), return_exceptions=True)
        assert [type(one) for one in got] == [BrokerUnreachable, BrokerUnreachable]
        desk.is_down = False
        assert await desk.get(8) == 16

    simulate(body)


@pytest.mark.parametrize("after_s", [0.01, 0.5])
def test_who_joined_and_gives_up_takes_nobody_along(after_s: float) -> None:
    async def body() -> None:
        desk = Desk()
        first = asyncio.get_running_loop().create_task(desk.get(2))
        second = asyncio.get_running_loop().create_task(desk.get(4))
        await asyncio.sleep(after_s)
        second.cancel()
        assert await first == 4
        assert second.cancelled()

    simulate(body)


@pytest.mark.parametrize("after_s", [0.01, 0.5])
def test_where_the_first_is_cancelled_nobody_waits_for_ever(after_s: float) -> None:
    async def body() -> None:
        desk = Desk()
        first = asyncio.get_running_loop().create_task(desk.get(2))
        second = asyncio.get_running_loop().create_task(desk.get(4))
        await asyncio.sleep(after_s)
        first.cancel()
        await asyncio.wait([first, second], timeout=5.0)
        assert first.cancelled()
        assert second.cancelled()
        assert await desk.get(6) == 12

    simulate(body)
