"""Logging in: clocks that differ, refusals, secrets that are never shown."""

import asyncio
from pathlib import Path

import pytest
from msgspec.structs import replace

from angelx.adapters.angelone.session import MOST_AGE, _life
from angelx.domain.errors import AuthExpired, BrokerUnreachable, RateLimited
from angelx.domain.scalars import NS
from angelx.domain.wire import NoAnswer, Response
from tests.adapters.angelone_pair import LOGIN, TOO_FAST, UNREACHABLE, Pair, play
from tests.venue.angelone_floor import SECRET


@pytest.mark.parametrize("wrong_s", [0, -25, 25, 300, -86_400])
def test_a_clock_that_differs_logs_in_by_the_brokers_time(tmp_path: Path, wrong_s: int) -> None:
    async def scenario(pair: Pair) -> None:
        await pair.client.session.ensure()
        assert pair.line.count("loginByPassword") == (1 if abs(wrong_s) < 30 else 2)
        assert abs(pair.client.session.now() - pair.floor.now) < 32 * NS

    play(tmp_path, scenario, wrong_s=wrong_s)


def test_wrong_credentials_are_tried_three_times_and_no_more(tmp_path: Path) -> None:
    async def scenario(pair: Pair) -> None:
        session = pair.client.session
        session._login = replace(LOGIN, pin="0000")
        for _ in range(6):
            with pytest.raises(AuthExpired, match="refused"):
                await session.ensure()
        assert pair.line.count("loginByPassword") == 3

    play(tmp_path, scenario)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (TOO_FAST, RateLimited),
        (UNREACHABLE, BrokerUnreachable),
        (NoAnswer("lost"), BrokerUnreachable),
        (Response(502, {}, b"<html>"), BrokerUnreachable),
        (Response(200, {}, b'{"status":true,"data":{"jwtToken":"x"}}'), BrokerUnreachable),
    ],
)
def test_a_login_that_fails_otherwise_may_be_tried_again(
    tmp_path: Path, answer: Response | Exception, error: type[Exception]
) -> None:
    async def scenario(pair: Pair) -> None:
        session = pair.client.session
        pair.line.faults.append(("loginByPassword", answer))
        with pytest.raises(error):
            await session.ensure()
        await asyncio.sleep(2)
        await session.ensure()
        assert session.jwt

    play(tmp_path, scenario)


def test_renewing_at_once_from_many_sides_is_one_request(tmp_path: Path) -> None:
    async def scenario(pair: Pair) -> None:
        session = pair.client.session
        await session.ensure()
        stale = session.jwt
        await asyncio.gather(*(session.renew(stale) for _ in range(10)))
        assert session.jwt != stale
        assert pair.line.count("generateTokens") == 1

    play(tmp_path, scenario)


def test_logging_out_ends_the_session_at_the_broker(tmp_path: Path) -> None:
    async def scenario(pair: Pair) -> None:
        await pair.client.session.ensure()
        await asyncio.sleep(1)
        await pair.client.close()
        assert pair.floor.server.logins._by_jwt == {}

    play(tmp_path, scenario)


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    async def scenario(pair: Pair) -> None:
        session = pair.client.session
        await session.ensure()
        assert session._tokens is not None
        secrets = ("1234", SECRET, "key1", session.jwt, session._tokens.refresh)
        for text in (repr(LOGIN), str(LOGIN), repr(session), repr(pair.client), repr(session._tokens)):
            assert not [secret for secret in secrets if secret in text]
        pair.line.faults.append(("getRMS", NoAnswer(f"{session.jwt} {SECRET} key1 1234")))
        pair.line.faults.extend([("getRMS", Response(502, {}, session.jwt.encode()))] * 2)
        with pytest.raises(BrokerUnreachable) as error:
            await pair.client.funds()
        assert not [secret for secret in secrets if secret in str(error.value)]

    play(tmp_path, scenario)


def test_a_token_that_says_nothing_of_its_life_lives_four_hours() -> None:
    for jwt in ("", "a.b", "a.bm8.c", "a.e30.c", "a.eyJpYXQiOjEsImV4cCI6MX0.c"):
        assert _life(jwt) == MOST_AGE
    assert _life("a.eyJpYXQiOjEwMCwiZXhwIjoyMDB9.c") == 100 * NS
