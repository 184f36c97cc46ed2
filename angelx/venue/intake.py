"""What a broker asks of an order before it sends it on."""

from collections.abc import Mapping

from angelx.venue.entries import Entry, check_form
from angelx.venue.floor import Floor
from angelx.venue.phases import Phases
from angelx.venue.requests import OPG, STOPS, OrderRequest, Refused, VenueOrder


class Intake:
    """Looks at requests; raises `Refused`, or lets them in."""

    def __init__(self, floor: Floor, phases: Phases, by_client: Mapping[str, Entry]) -> None:
        self._floor, self._phases, self._by_client = floor, phases, by_client

    def check(self, request: OrderRequest) -> None:
        """Form, client ids, session, ticks, lots, band and money, in this order."""
        place = self._floor.table.index.get(request.instrument, -1)
        check_form(request, self._floor.table.get(request.instrument))
        exits = [leg.client_id for leg in (request.take_profit, request.stop_loss) if leg is not None]
        names = [name for name in (request.client_id, *exits) if name]
        for name in names:
            self.check_client_id(name)
        if len(set(names)) < len(names) and self._floor.policy.unique_client_ids:
            raise Refused("duplicate_order", "an order and its exits need ids of their own")
        trial = Entry(VenueOrder("", 0, request, "", self._floor.now, self._floor.now), place)
        if not self._floor.may_trade(trial):
            self._check_phase(trial)
        elif request.tif == OPG:
            raise Refused("opg", "the session is open already")
        objection = self._floor.objection(trial)
        if objection is not None:
            raise Refused(*objection)

    def check_client_id(self, name: str) -> None:
        """Whether an id is free, where ids are good once."""
        if name and self._floor.policy.unique_client_ids and name in self._by_client:
            first = self._by_client[name].order.id
            raise Refused("duplicate_order", f"{name} was used for order {first}", first)

    def _check_phase(self, entry: Entry) -> None:
        """Whether an order may wait for a market that is not open."""
        request = entry.request
        phase = self._phases.of(self._floor.table[entry.place])
        waits = self._floor.policy.queues_orders or request.queued or phase in ("pre_open", "closing_auction")
        if request.tif in ("IOC", "FOK") or not (waits or request.tif == OPG or request.kind in STOPS):
            raise Refused("halted" if phase == "halted" else "market_closed", f"{request.instrument} is {phase}")
