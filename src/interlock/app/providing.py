"""`il.providers`: services that were imported from catalogues, or described by hand."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from interlock import catalog
from interlock.app.arguments import checked
from interlock.kernel import Caller, RequestError

if TYPE_CHECKING:
    from interlock.app.assembly import Parts


class Providers:
    """Providers of this tenant. Importing is the operator's: a provider says where our own client's secret is sent."""

    def __init__(self, parts: "Parts", caller: Caller, *, operator: bool) -> None:
        self._parts = parts
        self._caller = caller
        self._operator = operator

    @checked
    async def import_catalogue(
        self,
        content: bytes,
        *,
        form: catalog.Format = "interlock",
        called: str = "a catalogue",
        only: Sequence[str] = (),
        replace: Sequence[str] = (),
    ) -> catalog.Imported:
        """Take over the entries of a catalogue (a file's content), or those of these names, and tell of each how much. `called`
        is what the file is called on record. An entry that would send the credentials of connections elsewhere, or show them in
        another way, is taken over if `replace` names it. Raises InvalidProvider, ProviderInUse, and RequestError for somebody
        that Interlock acts for."""
        self._may_change()
        found = catalog.read_catalogue(content, form=form, source=called)
        found = found.only(only) if only else found
        if replace:
            found.only(replace)
        await self._parts.providers.keep(self._caller, found, replace=replace)
        return found

    @checked
    async def remove(self, provider: str) -> catalog.KeptProvider:
        """Keep a provider no more. Raises UnknownProvider, ProviderInUse while connections hold credentials under it, and
        RequestError for somebody that Interlock acts for."""
        self._may_change()
        return await self._parts.providers.remove(self._caller, provider)

    def _may_change(self) -> None:
        if not self._operator:
            raise RequestError(
                "providers are imported and removed by whoever opened Interlock, and not by somebody that it acts for",
                next_step="Open Interlock for their tenant: `tenant` of the settings, `--tenant`.",
            )
        if (refusal := self._parts.store.refusal) is not None:
            raise refusal

    @checked
    async def list(self, *, cursor: str | None = None, limit: int = 100) -> Sequence[catalog.KeptProvider]:
        """Providers in the order of their names; go on with `cursor` = the last name. Raises RequestError."""
        return await self._parts.providers.list_providers(self._caller, cursor=cursor, limit=limit)

    @checked
    async def fetch(self, provider: str) -> catalog.KeptProvider:
        """One provider. Raises UnknownProvider."""
        return await self._parts.providers.fetch(self._caller.tenant_id, provider)
