"""`il.connections.installs`: accounts that are connected by a grant, in a browser, on another device, or by a program."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from interlock.app import provided
from interlock.app.arguments import checked
from interlock.kernel import Caller, RequestError, Secret

if TYPE_CHECKING:
    from interlock import connections, sdk
    from interlock.app.assembly import Parts

SLOWER: Final = 5.0
"""By how many seconds a device is asked about less often, when the service wishes so or is silent."""

WAIT_SECONDS: Final = 0.25
"""How often an install is looked at that others carry on."""


class Installs:
    """What is being connected. An install ends as a connection, or as nothing, within ten minutes.

    A browser: `begin`, `authorize` (send it there), `take_callback`, `complete`. Another device: `begin`, `start_device`, then
    `poll_device` until it is proven, `complete`. A program alone: `connect`.
    """

    def __init__(self, parts: "Parts", caller: Caller) -> None:
        self._parts = parts
        self._caller = caller

    @checked
    async def begin(
        self,
        connector: str,
        given: Mapping[str, str | Secret] | None = None,
        *,
        profile: str | None = None,
        name: str | None = None,
        base_url: str | None = None,
        scopes: Sequence[str] | None = None,
    ) -> "connections.Begun":
        """Begin to connect a service, or to give the connection of that name a new credential. `given` are the profile's
        fields; `profile` may be left out where only one is connected so.

        Raises catalog.UnknownConnector, catalog.ConnectorBroken, RequestError, InvalidGrant, NameTaken.
        """
        if (refusal := self._parts.store.refusal) is not None:
            raise refusal
        return await self._parts.desk.begin(
            self._caller,
            connector_id=connector,
            profile_id=(await self._profile(connector, profile)).profile_id,
            name=name,
            base_url=base_url,
            given=given,
            scopes=None if scopes is None else frozenset(scopes),
        )

    @checked
    async def invite(
        self,
        connector: str,
        given: Mapping[str, str | Secret] | None = None,
        *,
        profile: str | None = None,
        name: str | None = None,
        base_url: str | None = None,
        scopes: Sequence[str] | None = None,
    ) -> "connections.Invitation":
        """As `begin`, for somebody who goes on at a page of `interlock serve`. Raises as `begin`."""
        from interlock import connections

        begun = await self.begin(connector, given, profile=profile, name=name, base_url=base_url, scopes=scopes)
        place = f"{self._parts.settings.connect.url}/connect/{begun.link.reveal()}"
        return connections.Invitation(begun.install.install_id, Secret(place), begun.install.expires_at)

    @checked
    async def connect(
        self,
        connector: str,
        given: Mapping[str, str | Secret] | None = None,
        *,
        profile: str | None = None,
        name: str | None = None,
        base_url: str | None = None,
        scopes: Sequence[str] | None = None,
    ) -> "connections.Connection":
        """Connect a service whose tokens a program fetches by itself. Raises as `begin`, InstallFailed, and RequestError where
        a person has to agree."""
        from interlock import connections

        begun = await self.begin(connector, given, profile=profile, name=name, base_url=base_url, scopes=scopes)
        if begun.install.flow is not connections.Flow.AUTOMATIC:
            await self._parts.desk.cancel(begun.install)
            raise RequestError(f"{connector} is connected by a person: begin with `installs.begin`")
        return await self._parts.desk.complete(await self._parts.desk.obtain(begun.install))

    @checked
    async def require_client(self, connector: str) -> None:
        """For who carries installs on here: our client of the connector, if the settings have one, can show itself. Raises
        FileUnreadable, ClientSecretMissing."""
        provided.read_client(self._parts.settings, connector)

    @checked
    async def find_by_link(self, link: Secret) -> "connections.Install":
        """The install, of whatever tenant, that a link leads to. Raises InstallNotFound, InstallEnded."""
        return await self._parts.desk.find_by_link(link)

    @checked
    async def find_by_browser(self, install_id: str, *, browser: Secret | None = None) -> "connections.Install":
        """The install, of whatever tenant, for the browser in which it was begun; also when it has ended. Raises
        InstallNotFound."""
        return await self._parts.desk.find_by_browser(install_id, browser=browser)

    def new_browser(self) -> Secret:
        """A token for the cookie of a browser that has none."""
        return self._parts.desk.new_browser()

    @checked
    async def authorize(self, install_id: str, *, browser: Secret, redirect_uri: str) -> str:
        """Where to send the browser, which shows `browser` (a cookie of 256 random bits that only it has) when it comes back to
        `redirect_uri`. Raises InstallNotFound, InstallEnded, InstallUsed, InstallFailed."""
        install = await self.fetch(install_id)
        return await self._parts.desk.authorize(install, browser=browser, redirect_uri=redirect_uri)

    @checked
    async def take_callback(
        self, query: str, *, redirect_uri: str, browser: Secret | None = None
    ) -> "connections.Install":
        """What the browser came back with, the cookie that it showed, and the address at which it came. The install is proven
        then: show whose account it is, and `complete` it.

        Raises InstallNotFound, InstallEnded, InstallUsed, CallbackRefused, InstallFailed.
        """
        return await self._parts.desk.take_callback(query, browser=browser, redirect_uri=redirect_uri)

    @checked
    async def start_device(self, install_id: str) -> "connections.Codes":
        """The code that a person types, and where. Raises InstallNotFound, InstallEnded, InstallUsed, InstallFailed."""
        return await self._parts.desk.start_device(await self.fetch(install_id))

    @checked
    async def poll_device(self, install_id: str) -> "connections.Install":
        """Whether the code was typed: the install is proven then. Raises InstallNotFound, InstallEnded, InstallUsed,
        InstallFailed; it waits on after ErrandFailed and GrantRefused, too (`slow_down`: 5 s longer from now on)."""
        return await self._parts.desk.poll_device(self._caller, install_id)

    @checked
    async def await_device(self, install_id: str, codes: "connections.Codes") -> "connections.Install":
        """Poll until the code was typed: the install is proven then. It asks less often once the service wishes so, or does not
        answer, and leaves it to others while they ask. Raises InstallNotFound, and InstallFailed if it ends otherwise."""
        from interlock import connections

        interval = codes.interval
        while True:
            await self._parts.wiring.clock.sleep(interval)
            try:
                install = await self.poll_device(install_id)
            except (connections.GrantRefused, connections.ErrandFailed):
                interval += SLOWER  # from now on (RFC 8628 §3.5)
                continue
            except (connections.InstallUsed, connections.InstallEnded):
                install = await self.fetch(install_id)
            if install.state in (connections.InstallState.PROVEN, connections.InstallState.COMPLETED):
                return install
            if install.reason is not None:
                raise connections.InstallFailed(install.connector_id, install.reason)

    @checked
    async def wait(self, install_id: str) -> "connections.Install":
        """The install once it has ended, wherever others carry it on. Raises InstallNotFound."""
        from interlock import connections

        while (install := await self.fetch(install_id)).state in connections.install_machine.OPEN:
            await self._parts.wiring.clock.sleep(WAIT_SECONDS)
        return install

    @checked
    async def complete(self, install_id: str, *, browser: Secret | None = None) -> "connections.Connection":
        """Make the connection of a proven install, in the browser in which it began. Raises InstallNotFound, InstallEnded,
        InstallUsed, CallbackRefused, InstallFailed, ConnectionChanged."""
        return await self._parts.desk.complete(await self.fetch(install_id), browser=browser)

    @checked
    async def cancel(self, install_id: str) -> "connections.Install":
        """End it; one that has ended stays as it is. Raises InstallNotFound, InstallUsed."""
        return await self._parts.desk.cancel(await self.fetch(install_id))

    @checked
    async def fetch(self, install_id: str) -> "connections.Install":
        """One install. Raises InstallNotFound."""
        return await self._parts.desk.fetch(self._caller, install_id)

    @checked
    async def list(self, *, cursor: str | None = None, limit: int = 100) -> "Sequence[connections.Install]":
        """Installs of this tenant, newest first; go on with `cursor` = the last install id."""
        return await self._parts.desk.list_installs(self._caller, cursor=cursor, limit=limit)

    async def _profile(self, connector: str, profile_id: str | None) -> "sdk.AuthProfile":
        known = self._parts.wiring.catalog
        manifest = await known.fetch_connector_for(self._caller.tenant_id, connector)
        fits = [each for each in manifest.auth if profile_id in (None, each.profile_id)]
        if profile_id is None:
            fits = [each for each in fits if each.install in ("browser", "device", "automatic", "cli")]
        if len(fits) != 1:
            there = ", ".join(each.profile_id for each in manifest.auth) or "none"
            raise RequestError(f"name one auth profile of {connector}: {there}")
        return fits[0]
