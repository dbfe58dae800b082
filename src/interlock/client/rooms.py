"""Runs, approvals and providers of a server."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import cast

from interlock import approvals, catalog, runs, sdk
from interlock.client.link import Link, part, reading, rows, value
from interlock.kernel import JSON, from_rfc3339


class Runs:
    """As `app.Runs`."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def fetch(self, run_id: str) -> runs.Run:
        """As `app.Runs.fetch`."""
        return value(runs.Run, await self._link.get(f"/runs/{part(run_id)}"))

    async def list(
        self,
        *,
        states: Sequence[runs.State] = (),
        capability: str | None = None,
        connection_id: str | None = None,
        actor: str | None = None,
        trace_id: str | None = None,
        parent_run_id: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Sequence[runs.Listed]:
        """As `app.Runs.list`."""
        told = await self._link.get(
            "/runs",
            state=tuple(each.value for each in states),
            capability=capability,
            connection_id=connection_id,
            actor=actor,
            trace_id=trace_id,
            parent_run_id=parent_run_id,
            since=since,
            until=until,
            cursor=cursor,
            limit=limit,
        )
        return [value(runs.Listed, each) for each in rows(told, "runs")]

    async def history(self, run_id: str) -> runs.History:
        """As `app.Runs.history`."""
        return value(runs.History, await self._link.get(f"/runs/{part(run_id)}/history"))

    async def events(self, run_id: str, *, after_seq: int = 0, limit: int = 1000) -> Sequence[runs.Event]:
        """As `app.Runs.events`."""
        told = await self._link.get(f"/runs/{part(run_id)}/events", after_seq=after_seq, limit=limit)
        return [value(runs.Event, each) for each in rows(told, "events")]

    async def outcome(self, run_id: str) -> runs.Outcome:
        """As `app.Runs.outcome`."""
        return value(runs.Outcome, await self._link.get(f"/runs/{part(run_id)}/outcome"))

    async def artifact(self, artifact_id: str) -> tuple[runs.Artifact, bytes]:
        """As `app.Runs.artifact`."""
        found = value(runs.Artifact, await self._link.get(f"/artifacts/{part(artifact_id)}"))
        return found, await self._link.content(f"/artifacts/{part(artifact_id)}/content")

    async def cancel(self, run_id: str, *, reason: str = "") -> runs.Run:
        """As `app.Runs.cancel`."""
        return value(runs.Run, await self._link.post(f"/runs/{part(run_id)}/cancel", {"reason": reason}))

    async def settle(self, run_id: str, *, seen: runs.Seen | None = None, note: str = "") -> runs.Run:
        """As `app.Runs.settle`."""
        return value(runs.Run, await self._link.post(f"/runs/{part(run_id)}/settle", {"seen": seen, "note": note}))

    async def packet(self, run_id: str) -> bytes:
        """As `app.Runs.packet`."""
        return await self._link.content(f"/runs/{part(run_id)}/packet")


class Approvals:
    """As `app.Approvals`."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def list(
        self, *, states: Sequence[approvals.State] = (), cursor: str | None = None, limit: int = 50
    ) -> Sequence[approvals.Approval]:
        """As `app.Approvals.list`."""
        wanted = tuple(each.value for each in states)
        told = await self._link.get("/approvals", state=wanted, cursor=cursor, limit=limit)
        return [value(approvals.Approval, each) for each in rows(told, "approvals")]

    async def fetch(self, approval_id: str) -> approvals.Approval:
        """As `app.Approvals.fetch`."""
        return value(approvals.Approval, await self._link.get(f"/approvals/{part(approval_id)}"))

    async def approve(self, approval_id: str, *, edited_input: Mapping[str, JSON] | None = None) -> approvals.Approval:
        """As `app.Approvals.approve`."""
        told = await self._link.post(f"/approvals/{part(approval_id)}/approve", {"edited_input": edited_input})
        return value(approvals.Approval, told)

    async def execute(self, approval_id: str) -> runs.Outcome:
        """As `app.Approvals.execute`."""
        told = await self._link.post(f"/approvals/{part(approval_id)}/execute", {}, seconds=3600)
        return value(runs.Outcome, told)

    async def deny(self, approval_id: str, *, reason: str) -> approvals.Approval:
        """As `app.Approvals.deny`."""
        told = await self._link.post(f"/approvals/{part(approval_id)}/deny", {"reason": reason})
        return value(approvals.Approval, told)


class Providers:
    """As `app.Providers`, for reading."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def list(self, *, cursor: str | None = None, limit: int = 100) -> Sequence[catalog.KeptProvider]:
        """As `app.Providers.list`."""
        told = await self._link.get("/providers", cursor=cursor, limit=limit)
        return [_kept(each) for each in rows(told, "providers")]

    async def fetch(self, provider: str) -> catalog.KeptProvider:
        """As `app.Providers.fetch`."""
        return _kept(await self._link.get(f"/providers/{part(provider)}"))


def _kept(told: JSON) -> catalog.KeptProvider:
    """Raises NotInterlock."""
    with reading("provider"):
        facts = cast("Mapping[str, JSON]", told)
        return catalog.KeptProvider(
            tenant_id="",
            provider=sdk.Provider.model_validate(facts["provider"]),
            format=cast("catalog.Format", facts["format"]),
            source=str(facts["source"]),
            source_digest=str(facts["source_digest"]),
            entry_id=str(facts["entry"]),
            missing=tuple(str(each) for each in cast("list[str]", facts["missing"])),
            open_host=bool(facts["open_host"]),
            imported_by=str(facts["imported_by"]),
            imported_at=from_rfc3339(str(facts["imported_at"])),
        )
