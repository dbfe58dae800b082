"""One page of a poll, asked for as any other effect is: governed, through the plane, on record as a run."""

from collections.abc import Mapping
from dataclasses import dataclass

from interlock import catalog, runs, sdk
from interlock.kernel import JSON, Caller, read_json
from interlock.triggers.polling import reading
from interlock.triggers.polling.errors import InvalidPoll, PollFailed
from interlock.triggers.polling.model import SECONDS, Poll


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What the connector says of a trigger that can be polled."""

    connector_id: str
    trigger: sdk.Trigger
    polling: sdk.Polling
    listing: sdk.Listing


class Asking:
    """Asks, and finds out what there is to be asked."""

    def __init__(
        self, capabilities: catalog.Catalog, invoker: runs.Invoker, records: runs.Reading, *, environment: str
    ) -> None:
        self._catalog = capabilities
        self._invoker = invoker
        self._records = records
        self._environment = environment

    async def declared(self, tenant_id: str, name: str) -> Declared:
        """The trigger of that name. Raises UnknownConnector, InvalidPoll."""
        connector_id, _, trigger_id = name.partition(".")
        manifest = await self._catalog.fetch_connector_for(tenant_id, connector_id)
        triggers = [each for each in manifest.triggers if each.polling is not None and each.polling.listing is not None]
        found = next((each for each in triggers if each.trigger_id == trigger_id), None)
        if found is None or found.polling is None or found.polling.listing is None:
            known = ", ".join(f"{connector_id}.{each.trigger_id}" for each in triggers)
            raise InvalidPoll(
                f"{name[:100]!r} is no trigger that can be polled; {f'there are: {known}' if known else 'there is none'}"
            )
        return Declared(connector_id=connector_id, trigger=found, polling=found.polling, listing=found.polling.listing)

    async def page(self, poll: Poll, declared: Declared, place: reading.Place, mark: JSON) -> reading.Read:
        """One page. An item that is not as the operation declares it keeps none of the others from being read. Raises
        PollFailed, and what the call fails with."""
        asked: Mapping[str, JSON] = reading.question(declared.listing, poll.config, place)
        request = runs.Request(
            capability=f"{declared.connector_id}.{declared.listing.operation}",
            input=asked,
            connection=poll.connection,
            environment=self._environment,
            origin=runs.Origin.TRIGGER,
            timeout=SECONDS,
            max_attempts=2,
        )
        caller = Caller(tenant_id=poll.tenant_id, actor=poll.created_by)
        try:
            outcome = await self._invoker.invoke(caller, request)
        except catalog.InvalidOutput as error:
            return await self._with_the_unfit(poll, declared, place, mark, error)
        if outcome.state is not runs.State.COMPLETED:
            raise PollFailed(
                f"{outcome.run_id} is {outcome.state.value}: {'; '.join(outcome.reasons)}",
                run_id=outcome.run_id,
                retry_after=outcome.retry_after_seconds,
            )
        return reading.read(declared.listing, place, mark, outcome.output)

    async def _with_the_unfit(
        self, poll: Poll, declared: Declared, place: reading.Place, mark: JSON, error: catalog.InvalidOutput
    ) -> reading.Read:
        """What an answer says of which some items are not as declared. Raises the error if it is more than items."""
        listing = declared.listing
        capability = await self._catalog.fetch_for(poll.tenant_id, f"{declared.connector_id}.{listing.operation}")
        history = await self._records.history(poll.tenant_id, error.run_id or "")
        kept = next((each for each in history.artifacts if each.name == "output"), None)
        if kept is None:
            raise error
        output = read_json(await self._records.content(kept))
        capability.validate_output(reading.relisted(listing, output, ()))
        problems: dict[int, str] = {}
        for number, item in enumerate(reading.listed(listing, output)):
            try:
                capability.validate_output(reading.relisted(listing, output, [item]))
            except catalog.InvalidOutput as unfit:
                problems[number] = unfit.message
        return reading.read(listing, place, mark, output, problems=problems)
