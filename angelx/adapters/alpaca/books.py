"""Reading the account's books completely, or not at all: Alpaca's lists come in pages."""

from typing import Final

from angelx.adapters.alpaca.messages import ContractsPage, WireAsset, WireContract, WireFill, WireOrder
from angelx.adapters.alpaca.rest import Query, Rest
from angelx.adapters.rate_budget import Priority
from angelx.domain.errors import BrokerUnreachable
from angelx.domain.timestamps import instant_of, rfc3339

ORDERS_PAGE: Final = 500
FILLS_PAGE: Final = 100
CONTRACTS_PAGE: Final = 10_000
MOST_PAGES: Final = 1_000
OVERLAP_NS: Final = 1_000_000
"""Orders are paged by time: each page begins a little before the last one ended, and what came twice is one."""


async def orders(rest: Rest, status: str, after: int) -> list[WireOrder]:
    """Orders submitted after a time (ns), oldest first, each leg for itself.

    Raises
    ------
    BrokerUnreachable
        A page failed, or more orders were submitted in one instant than a page holds: nothing is returned.
    """
    found: dict[str, WireOrder] = {}
    for _ in range(MOST_PAGES):
        query: Query = {"status": status, "limit": ORDERS_PAGE, "direction": "asc", "nested": "false"}
        if after:
            query["after"] = rfc3339(after)
        page = await rest.get("/v2/orders", query, answer=list[WireOrder])
        known = len(found)
        found |= {order.id: order for order in page}
        if len(page) < ORDERS_PAGE:
            return list(found.values())
        if len(found) == known:
            break
        after = _submitted(page[-1]) - OVERLAP_NS
    raise BrokerUnreachable("the order book cannot be read completely")


async def fills(rest: Rest, after: int) -> list[WireFill]:
    """Fills after a time (ns), oldest first.

    Raises
    ------
    BrokerUnreachable
        A page failed: nothing is returned.
    """
    found: dict[str, WireFill] = {}
    token = ""
    for _ in range(MOST_PAGES):
        query: Query = {"direction": "asc", "page_size": FILLS_PAGE, "after": rfc3339(after)}
        if token:
            query["page_token"] = token
        page = await rest.get("/v2/account/activities/FILL", query, answer=list[WireFill])
        found |= {fill.id: fill for fill in page}
        if len(page) < FILLS_PAGE:
            return list(found.values())
        if page[-1].id == token:
            break
        token = page[-1].id
    raise BrokerUnreachable("the trade book cannot be read completely")


async def assets(rest: Rest) -> list[WireAsset]:
    """All active shares."""
    query: Query = {"status": "active", "asset_class": "us_equity"}
    return await rest.get("/v2/assets", query, answer=list[WireAsset], priority=Priority.POLL)


async def contracts(rest: Rest, underlying: str, first: str, last: str) -> list[WireContract]:
    """All active contracts of an underlying that expire on [first, last].

    Raises
    ------
    BrokerUnreachable
        A page failed: nothing is returned.
    """
    found: list[WireContract] = []
    token = ""
    for _ in range(MOST_PAGES):
        query: Query = {
            "underlying_symbols": underlying, "status": "active", "limit": CONTRACTS_PAGE,
            "expiration_date_gte": first, "expiration_date_lte": last,
        }  # fmt: skip
        if token:
            query["page_token"] = token
        page = await rest.get("/v2/options/contracts", query, answer=ContractsPage, priority=Priority.POLL)
        found += page.option_contracts or ()
        if not page.next_page_token:
            return found
        token = page.next_page_token
    raise BrokerUnreachable(f"the contracts of {underlying} cannot be read completely")


def _submitted(order: WireOrder) -> int:
    try:
        return instant_of(order.submitted_at or order.created_at or "")
    except ValueError as error:
        raise BrokerUnreachable(f"order {order.id} has no time: {error}") from error
