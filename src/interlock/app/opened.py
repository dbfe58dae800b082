"""The execution plane by itself, once it is open: one call for one execution, or the steps by which it goes."""

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, TypeVar

import anyio
from pydantic import ValidationError

from interlock import plane
from interlock.kernel import Clock, IdSource, OpenedHere, RequestError

T = TypeVar("T", plane.ProcessIntent, plane.HttpIntent)

LOCAL_NET: Final = plane.LOCAL_HTTP
"""The class of everything that leaves this very process over the network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A command that was run: what it wrote, and its receipt, which says how it ended (`facts["exit_code"]`)."""

    stdout: bytes
    stderr: bytes
    receipt: plane.Receipt


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalPlane:
    """What `open_local_plane` opened."""

    node: plane.Node
    executions: plane.Executions
    authorizer: plane.Authorizer
    clock: Clock
    ids: IdSource
    secrets: tuple[plane.ProcessSecret, ...]
    """Those that were handed over, for intents to list."""
    opened: OpenedHere = field(default_factory=lambda: OpenedHere("this plane"), repr=False)

    async def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
        sandbox: plane.SandboxProfile | None = None,
        target_class: str = plane.LOCAL_PROCESS,
        seconds: float = 60.0,
        **more: Any,
    ) -> Ran:
        """Run a command to its end; `more` are further fields of its intent. A command that fails is a receipt, never an
        exception; one that is not begun is an ExecutionRejected, and what is no command a RequestError; in a forked child
        everything is Forked. If the caller is cancelled, all that it started is ended."""
        fields: dict[str, Any] = {
            **self.identity(seconds=seconds),
            "argv": tuple(argv),
            "stdin": stdin,
            "env": tuple((env or {}).items()),
            "cwd": cwd,
            "sandbox": sandbox,
            "secrets": self.secrets,
            "max_ms": _milliseconds(seconds),
            **more,
        }
        intent = _made(plane.ProcessIntent, fields)
        ref = await self.start(intent, target_class=target_class)
        written = {"stdout": bytearray(), "stderr": bytearray()}
        try:
            async with aclosing(self.executions.subscribe(ref)) as events:
                async for event in events:
                    if event.type is plane.EventType.OUTPUT and event.stream in written:
                        written[event.stream] += event.data
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self.executions.cancel(ref)
            raise
        receipt = await self.executions.wait(ref)
        return Ran(stdout=bytes(written["stdout"]), stderr=bytes(written["stderr"]), receipt=receipt)

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        seconds: float = 60.0,
        **more: Any,
    ) -> plane.Receipt:
        """Send an HTTP request, to that URL's host only; `more` are further fields of its intent. An answer is the receipt's
        `status`, `headers` and `body`; that there is none is its `failure`, never an exception. Raises RequestError for what
        is no request, and Forked."""
        self.opened.check()
        fields: dict[str, Any] = {
            **self.identity(seconds=seconds),
            "method": method,
            "url": url,
            "headers": tuple((headers or {}).items()),
            "body": body,
            "allowed_hosts": (_read_url(url).host_port,),
            "timeouts": plane.Timeouts(total_ms=_milliseconds(seconds)),
            **more,
        }
        intent = _made(plane.HttpIntent, fields)
        authority = self.authorizer.issue(intent.digest, audience=self.node.node_id, target_class=LOCAL_NET)
        return await self.node.execute(intent, authority=authority, target_class=LOCAL_NET)

    async def start(self, intent: plane.Intent, *, target_class: str) -> plane.ExecutionRef:
        """Begin an execution under an authority of its own. Raises ExecutionRejected, RequestError for what is no intent,
        and Forked."""
        self.opened.check()
        plane.check_request(intent, target_class)
        authority = self.authorizer.issue(intent.digest, audience=self.node.node_id, target_class=target_class)
        return await self.executions.start(intent, authority=authority, target_class=target_class)

    def identity(self, *, seconds: float) -> dict[str, Any]:
        """The fields that all intents share, for a new one that ends in so many seconds."""
        return new_identity(self.ids, self.clock, seconds=seconds)


def new_identity(ids: IdSource, clock: Clock, *, seconds: float) -> dict[str, Any]:
    """The fields that all intents share, for a new one that ends in so many seconds."""
    intent_id = ids.new("snd")
    return {
        "intent_id": intent_id,
        "tenant_id": "default",
        "run_id": ids.new("run"),
        "attempt_id": ids.new("att"),
        "trace_id": intent_id,
        "deadline_at": clock.now() + timedelta(seconds=seconds),
    }


def _read_url(url: str) -> plane.Url:
    try:
        return plane.parse_url(url)
    except ValueError as error:
        raise RequestError(str(error)) from error


def _made(kind: type[T], fields: dict[str, Any]) -> T:
    """The intent. Raises RequestError, which names what does not fit and leaves out its value."""
    try:
        return kind(**fields)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        wrong = "; ".join(
            f"{'.'.join(map(str, each['loc']))}: {each['msg'].removeprefix('Value error, ')}" for each in found
        )
        raise RequestError(f"this cannot be carried out as it is asked for: {wrong}"[:2000]) from error


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
