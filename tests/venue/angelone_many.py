"""A floor with many options."""

from angelx.domain.instruments import InstrumentTable, Right
from tests.venue.angelone_floor import AngelFloor, option


def many(count: int) -> AngelFloor:
    return AngelFloor(table=InstrumentTable([option(10_000 + 50 * number, Right.CALL) for number in range(count)]))
