"""Which host a connector's code gets."""

from collections.abc import Mapping

from interlock import catalog, runs, sdk
from interlock.kernel import JSON


class InProcessHost:
    """Runs handlers in this process. They are trusted: Python cannot keep them from anything."""

    async def call(self, capability: catalog.Capability, value: Mapping[str, JSON], http: sdk.Http) -> JSON:
        """Run the capability's handler. Raises what it raised of the error tree, else HandlerFailed."""
        return await sdk.call_handler(capability.operation.handler or "", value, http)


class Hosts:
    """In this process, except for the connectors that the operator wants isolated."""

    def __init__(self, *, isolated: frozenset[str], child: runs.HandlerHost) -> None:
        self._isolated = isolated
        self._child = child
        self._here = InProcessHost()

    async def call(self, capability: catalog.Capability, value: Mapping[str, JSON], http: sdk.Http) -> JSON:
        """Run the capability's handler where it belongs. Raises what it raised of the error tree, else HandlerFailed."""
        host = self._child if capability.connector_id in self._isolated else self._here
        return await host.call(capability, value, http)
