"""Capabilities as tools for the models of other frameworks: each call is a run, under policy, over its connection."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast

from interlock import agents, catalog, runs
from interlock.bridges.errors import NoSuchTools
from interlock.kernel import (
    JSON,
    InterlockError,
    JsonLimits,
    RequestError,
    Retry,
    StoreError,
    UnknownOutcome,
    canonical,
    digest,
    parse_json,
)

if TYPE_CHECKING:  # it loads all that there is
    from interlock import app

MAX_NAME: Final = 64
"""Characters of a tool's name, as far as all models go."""

MAX_TOLD: Final = 65_536
"""Characters of an answer that a model is told."""

ARGUMENTS: Final = JsonLimits(max_bytes=262_144, max_depth=32, max_nodes=20_000)

Status: TypeAlias = Literal["completed", "held", "denied", "shed", "failed", "invalid", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A capability, as a model is shown it."""

    name: str
    description: str
    input_schema: Mapping[str, JSON]
    capability_id: str
    effect: str
    """`read`, `create`, `update`, `delete` or `execute`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What came of a call, as a model is told it. Only `completed` has an `output`; `held` waits for a person, and nothing was
    done; of `unknown` nobody can tell. `run_id` is the run on record, if there is one."""

    status: Status
    output: JSON = None
    message: str | None = None
    run_id: str | None = None
    approval_id: str | None = None

    def to_json(self) -> dict[str, JSON]:
        """As a document; what is None is left out, but for the output of what was done."""
        said: dict[str, JSON] = {"status": self.status}
        if self.status == "completed":
            said["output"] = self.output
        also = {"message": self.message, "run_id": self.run_id, "approval_id": self.approval_id}
        return said | {name: value for name, value in also.items() if value is not None}

    @property
    def text(self) -> str:
        """The same as JSON, cut where no model would read on."""
        whole = canonical(self.to_json()).decode()
        if len(whole) <= MAX_TOLD:
            return whole
        return f"{whole[:MAX_TOLD]}… and {len(whole) - MAX_TOLD} more characters; ask for less at once."


class CapabilityTools:
    """Capabilities of an open Interlock as tools. Nothing of a model's goes anywhere but into the input: which connection is
    used, in which environment, is said here.

        tools = await CapabilityTools.of(il, ["github.issue.*"], connection="work")
        told = await tools.call("github_issue_fetch", {"repo": "acme/shop", "issue_number": 7})
    """

    def __init__(
        self,
        il: "app.Interlock",
        found: Iterable[catalog.Capability],
        *,
        connection: str | Mapping[str, str] | None = None,
        environment: str | None = None,
        timeout: float = 120.0,
    ) -> None:
        """`connection` is one for all, or one for each connector. Raises NoSuchTools if two capabilities have one name."""
        self._il = il
        self._connection = connection
        self._environment = environment
        self._timeout = timeout
        self._known: dict[str, tuple[Tool, catalog.Capability]] = {}
        for each in found:
            tool = _tool(each)
            if (other := self._known.get(tool.name)) is not None:
                raise NoSuchTools(f"{each.capability_id} and {other[0].capability_id} would both be called {tool.name}")
            self._known[tool.name] = (tool, each)

    @classmethod
    async def of(
        cls,
        il: "app.Interlock",
        capabilities: Sequence[str],
        *,
        connection: str | Mapping[str, str] | None = None,
        environment: str | None = None,
        timeout: float = 120.0,  # noqa: ASYNC109 - the deadline of each call's run
    ) -> "CapabilityTools":
        """Of these capabilities, each an id or all below a name (`github.issue.*`), as far as the caller may ask for them. Raises
        UnknownCapability, and NoSuchTools for a name below which there is nothing."""
        chosen: dict[str, catalog.Capability] = {}
        for wanted in capabilities:
            matching = await _matching(il, wanted)
            chosen |= {each.capability_id: each for each in matching}
        return cls(il, chosen.values(), connection=connection, environment=environment, timeout=timeout)

    @property
    def tools(self) -> tuple[Tool, ...]:
        """What a model is shown, in the order of their names."""
        return tuple(self._known[name][0] for name in sorted(self._known))

    async def call(self, name: str, arguments: Mapping[str, Any] | str, *, key: str | None = None) -> Told:
        """Ask for it. What it may come to is a value, also that it was held, refused or failed; a model is to read it. Asked
        again with the same `key`, it is not done again. Raises StoreError: nobody knows then what is on record."""
        known = self._known.get(name)
        if known is None:
            return Told(
                status="invalid",
                message=f"There is no tool {name[:100]!r}. There are: {', '.join(sorted(self._known))}",
            )
        _, capability = known
        try:
            given = _arguments(arguments)
            outcome = await self._il.invoke(
                capability.capability_id,
                given,
                connection=self._over(capability.connector_id),
                environment=self._environment,
                idempotency_key=None if key is None else digest([name, key]),
                timeout=self._timeout,
            )
        except StoreError:
            raise
        except InterlockError as error:
            return _failed(error)
        return _told(outcome)

    def _over(self, connector_id: str) -> str | None:
        if self._connection is None or isinstance(self._connection, str):
            return self._connection
        return self._connection.get(connector_id)


async def _matching(il: "app.Interlock", wanted: str) -> list[catalog.Capability]:
    tenant_id = il.caller.tenant_id
    if not wanted.endswith(".*"):
        return [await il.catalog.fetch_for(tenant_id, wanted)]
    manifest = await il.catalog.fetch_connector_for(tenant_id, wanted.partition(".")[0])
    found = [catalog.Capability(manifest, each) for each in manifest.operations]
    below = wanted.removesuffix("*")
    kept = [
        each
        for each in found
        if each.capability_id.startswith(below) and not each.is_proxy and il.caller.sees(each.capability_id, None)
    ]
    if not kept:
        raise NoSuchTools(f"there is no capability below {wanted[:100]!r} that this caller may ask for")
    return kept


def _tool(capability: catalog.Capability) -> Tool:
    operation = capability.operation
    name = re.sub(r"[^a-zA-Z0-9_-]", "_", capability.capability_id)
    if len(name) > MAX_NAME:
        name = f"{name[: MAX_NAME - 9]}_{digest(capability.capability_id)[7:15]}"
    return Tool(
        name=name,
        description=operation.description,
        input_schema=agents.without_annotations(operation.input_schema),
        capability_id=capability.capability_id,
        effect=operation.effect.value,
    )


def _arguments(given: Mapping[str, Any] | str) -> Mapping[str, JSON]:
    value = parse_json(given or "{}", limits=ARGUMENTS, what="arguments") if isinstance(given, str) else dict(given)
    if not isinstance(value, dict):
        raise RequestError("the arguments are no JSON object")
    return cast("dict[str, JSON]", value)


def _told(outcome: runs.Outcome) -> Told:
    run_id = outcome.run_id
    match outcome.state:
        case runs.State.COMPLETED:
            return Told(status="completed", output=outcome.output, run_id=run_id)
        case runs.State.HELD:
            message = "A person has to approve this; it has not been done. Do not ask for it again: say that it waits."
            return Told(status="held", message=message, run_id=run_id, approval_id=outcome.approval_id)
        case runs.State.DENIED:
            why = "; ".join(outcome.reasons) or "no reason was given"
            return Told(status="denied", message=f"Policy does not allow this: {why}", run_id=run_id)
        case runs.State.SHED:
            seconds = outcome.retry_after_seconds
            later = "" if seconds is None else f" There is room again in {seconds:g} seconds."
            return Told(status="shed", message=f"There is no room for this now.{later}", run_id=run_id)
        case state:
            message = f"The run is {state.value}, and what comes of it is not known yet. Do not ask for it again."
            return Told(status="unknown", message=message, run_id=run_id)


def _failed(error: InterlockError) -> Told:
    if isinstance(error, UnknownOutcome):
        message = f"Nobody can tell whether this was done: {error.message}. Do not ask for it again."
        return Told(status="unknown", message=message, run_id=error.run_id)
    status: Status = "invalid" if isinstance(error, RequestError) else "failed"
    again = {Retry.LATER: " Later it may succeed.", Retry.AFTER_CHANGE: " Asked for otherwise, it may succeed."}
    why = error.message if error.message.endswith((".", "!", "?")) else f"{error.message}."
    return Told(status=status, message=f"{why}{again.get(error.retry, '')}", run_id=error.run_id)
