"""Mailboxes: bounded, with a declared policy; nothing is dropped silently."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angelx.bus.mailbox import Mailbox, MailboxFull
from angelx.sim.loop import Deadlock, simulate


async def taken(mailbox: Mailbox[tuple[str, int]]) -> list[tuple[str, int]]:
    """Everything that waits."""
    return [await anext(mailbox) for _ in range(mailbox.depth)]


@given(st.lists(st.integers(), max_size=20), st.integers(1, 20))
def test_fail_keeps_order_and_refuses_the_item_over_the_bound(items: list[int], bound: int) -> None:
    async def main() -> None:
        mailbox: Mailbox[tuple[str, int]] = Mailbox("orders", bound)
        for place, item in enumerate(items):
            if place < bound:
                mailbox.put(("", item))
            else:
                with pytest.raises(MailboxFull, match=f"mailbox orders is full at {bound}"):
                    mailbox.put(("", item))
        assert mailbox.depth == min(len(items), bound)
        assert await taken(mailbox) == [("", item) for item in items[:bound]]
        assert (mailbox.depth, mailbox.conflated) == (0, 0)

    simulate(main)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers()), max_size=20))
def test_conflate_keeps_the_newest_of_a_key_in_its_turn_and_counts_the_rest(items: list[tuple[str, int]]) -> None:
    async def main() -> None:
        mailbox: Mailbox[tuple[str, int]] = Mailbox("ticks", 3, key=lambda item: item[0])
        for item in items:
            mailbox.put(item)
        keys = list(dict.fromkeys(key for key, _ in items))
        assert mailbox.conflated == len(items) - len(keys)
        assert mailbox.depth == len(keys)
        assert await taken(mailbox) == [(key, dict(items)[key]) for key in keys]

    simulate(main)


def test_conflate_is_bounded_by_keys() -> None:
    mailbox: Mailbox[int] = Mailbox("ticks", 2, key=lambda item: item % 10)
    for item in (1, 2, 11, 12):
        mailbox.put(item)
    with pytest.raises(MailboxFull, match="2 keys"):
        mailbox.put(3)
    assert (mailbox.depth, mailbox.conflated) == (2, 2)


def test_a_reader_that_waits_is_woken_by_each_item() -> None:
    async def main() -> list[tuple[float, int]]:
        mailbox: Mailbox[int] = Mailbox("m", 5)
        heard: list[tuple[float, int]] = []
        loop = asyncio.get_running_loop()

        async def read() -> None:
            async for item in mailbox:
                heard.append((loop.time(), item))
                if item == 3:
                    return

        async with asyncio.TaskGroup() as group:
            group.create_task(read())
            for item in (1, 2, 3):
                await asyncio.sleep(1)
                mailbox.put(item)
        return heard

    assert simulate(main) == [(1.0, 1), (2.0, 2), (3.0, 3)]


def test_a_reader_that_was_cancelled_loses_nothing() -> None:
    async def main() -> int:
        mailbox: Mailbox[int] = Mailbox("m", 5)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await anext(mailbox)
        mailbox.put(7)
        return await anext(mailbox)

    assert simulate(main) == 7


def test_an_empty_mailbox_that_nobody_fills_is_a_deadlock_in_virtual_time() -> None:
    async def main() -> None:
        await anext(Mailbox[int]("m", 1))

    with pytest.raises(Deadlock):
        simulate(main)


def test_a_bound_must_be_positive() -> None:
    with pytest.raises(ValueError, match="bound must be positive"):
        Mailbox[int]("m", 0)
