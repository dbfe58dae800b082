"""One page of a poll, asked for as any other effect is: governed, through the plane, on record as a run."""

from collections.abc import Mapping
from dataclasses import dataclass

from interlock import catalog, runs, sdk
from interlock.kernel import JSON, Caller
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

    def __init__(self, capabilities: catalog.Catalog, invoker: runs.Invoker, *, environment: str) -> None:
        self._catalog = capabilities
        self._invoker = invoker
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
        """Raises PollFailed, and what the call fails with."""
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
        outcome = await self._invoker.invoke(caller, request)
        if outcome.state is not runs.State.COMPLETED:
            raise PollFailed(
                f"{outcome.run_id} is {outcome.state.value}: {'; '.join(outcome.reasons)}",
                run_id=outcome.run_id,
                retry_after=outcome.retry_after_seconds,
            )
        return reading.read(declared.listing, place, mark, outcome.output)
