"""Requests about credentials that belong to no run: they fetch and end tokens, and ask whose a credential is."""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, TypeAlias, cast

import anyio
from pydantic import ValidationError

from interlock import plane
from interlock.connections.answer import Answer
from interlock.connections.errors import ErrandFailed
from interlock.connections.exchange import Errand
from interlock.kernel import VERSION, Clock, IdSource, Redactor, Secret

_TOTAL: Final = timedelta(seconds=20)
_PROGRAM: Final = timedelta(seconds=10)
_MOST_PRINTED: Final = 65_536
_MOST_BYTES: Final = 1_048_576
_AGENT: Final = ("user-agent", f"interlock/{VERSION}")

_Use: TypeAlias = tuple[str, str, str]
"""At which host, for which tenant, by which run."""

Show: TypeAlias = Callable[[str], tuple[plane.CredentialRef, ...]]
"""Where a request shows the secrets behind a handle."""


class Pending:
    """Credentials that are used and are not stored, or not yet, in front of the stored ones. A `CredentialResolver`."""

    def __init__(self, stored: plane.CredentialResolver) -> None:
        self._stored = stored
        self._pending: dict[str, tuple[_Use, Mapping[str, Secret]]] = {}

    def hold(self, handle: str, secrets: Mapping[str, Secret], *, host: str, tenant_id: str, run_id: str) -> None:
        """Know these secrets under the handle, for one use: as `redeem` will be asked for it."""
        self._pending[handle] = ((host, tenant_id, run_id), secrets)

    def forget(self, handle: str) -> None:
        """Know them no more."""
        self._pending.pop(handle, None)

    def redactor(self) -> Redactor:
        """Knows the secrets that are in use just now."""
        return Redactor(secret for _, secrets in self._pending.values() for secret in secrets.values())

    async def redeem(self, ref: plane.SecretRef, *, host: str, tenant_id: str, run_id: str) -> Secret:
        """The secret for the lane. Raises as the stored ones do."""
        pending = self._pending.get(ref.handle)
        if pending is not None and pending[0] == (host, tenant_id, run_id):
            return pending[1][ref.field]
        return await self._stored.redeem(ref, host=host, tenant_id=tenant_id, run_id=run_id)


class Errands:
    """Carries such requests out through the plane, each once, on a node of their own whose evidence is kept. An answer has at
    most 1 MiB, and is there within `limit`, which is 20 seconds unless it is set."""

    limit: timedelta = _TOTAL
    largest: Final = _MOST_BYTES
    """Bytes of an answer."""

    def __init__(
        self, pending: Pending, node: plane.Node, authorizer: plane.Authorizer, *, clock: Clock, ids: IdSource
    ) -> None:
        """`node` is closed with this; its lanes redeem from `pending`."""
        self._pending = pending
        self._node = node
        self._authorizer = authorizer
        self._clock = clock
        self._ids = ids

    async def aclose(self) -> None:
        """Close the node."""
        await self._node.aclose()

    async def send(self, errand: Errand, *, tenant_id: str, subject_id: str | None = None) -> Answer:
        """Send an errand for a tenant; `subject_id` is what it is about, such as an install, for the evidence. Returns the
        answer, whatever its status. Raises ErrandFailed."""
        secrets = {f"other_{number}": secret for number, secret in enumerate(errand.secrets)}
        secrets |= {f"header_{number}": secret for number, (_, secret) in enumerate(errand.secret_headers)}
        secrets |= {f"query_{number}": secret for number, (_, secret) in enumerate(errand.secret_query)}
        if errand.certificate is not None:
            secrets["certificate"], secrets["private_key"] = errand.certificate
        return await self.ask(
            errand.method,
            errand.url,
            headers=errand.headers,
            body=errand.body,
            show=lambda handle: _places(errand, handle),
            secrets=secrets,
            tenant_id=tenant_id,
            subject_id=subject_id,
        )

    async def ask(
        self,
        method: str,
        url: str,
        *,
        show: Show,
        secrets: Mapping[str, Secret],
        tenant_id: str,
        headers: tuple[tuple[str, str], ...] = (),
        body: bytes = b"",
        subject_id: str | None = None,
        limit: timedelta | None = None,
    ) -> Answer:
        """Send a request that shows these secrets, which are known by name. The answer is there within `limit` where that is
        less than it is for all. Raises ErrandFailed."""
        handle, asked_at, within = self._ids.new("lse"), self._clock.now(), min(limit or self.limit, self.limit)
        try:
            intent = plane.HttpIntent(
                intent_id=self._ids.new("snd"),
                tenant_id=tenant_id,
                run_id=subject_id or handle,
                attempt_id=handle,
                trace_id=handle,
                method=cast("Any", method),
                url=url,
                headers=headers if any(name == "user-agent" for name, _ in headers) else (*headers, _AGENT),
                body=body,
                credentials=show(handle),
                allowed_hosts=(plane.parse_url(url).host_port,),
                timeouts=plane.Timeouts(total_ms=int(within.total_seconds() * 1000)),
                max_response_bytes=_MOST_BYTES,
                deadline_at=asked_at + within,
            )
        except ValueError as error:
            said = plane.flaws(error) if isinstance(error, ValidationError) else str(error)
            raise ErrandFailed.unsendable(said) from error
        self._pending.hold(handle, secrets, host=intent.host, tenant_id=tenant_id, run_id=intent.run_id)
        try:
            receipt = await self._execute(intent, plane.LOCAL_HTTP)
        finally:
            self._pending.forget(handle)
        redactor = Redactor(secrets.values())
        if receipt.failure is not None or receipt.status is None:
            raise ErrandFailed.of(receipt, intent.host, redactor)
        stated = {name: redactor.text(value) for name, value in receipt.headers}
        return Answer(status=receipt.status, headers=stated, body=receipt.body, asked_at=asked_at)

    async def run(self, argv: Sequence[str], *, env: Mapping[str, str], tenant_id: str) -> bytes:
        """Run a program of this machine, without a shell, and return what it printed: at most 64 KiB, within ten seconds. Raises
        ErrandFailed, also for one that fails."""
        handle, asked_at = self._ids.new("lse"), self._clock.now()
        try:
            intent = plane.ProcessIntent(
                intent_id=self._ids.new("snd"),
                tenant_id=tenant_id,
                run_id=handle,
                attempt_id=handle,
                trace_id=handle,
                argv=tuple(argv),
                env=tuple(env.items()),
                max_ms=int(_PROGRAM.total_seconds() * 1000),
                max_output_bytes=_MOST_PRINTED,
                deadline_at=asked_at + _TOTAL,
            )
        except ValidationError as error:
            raise ErrandFailed.unsendable("; ".join(each["msg"] for each in error.errors())) from error
        receipt = await self._execute(intent, plane.LOCAL_PROCESS)
        if receipt.failure is not None:
            raise ErrandFailed.of(receipt, argv[0], Redactor())
        return receipt.body

    async def _execute(self, intent: plane.Intent, target_class: str) -> plane.Receipt:
        authority = self._authorizer.issue(
            intent.digest, audience=self._node.node_id, target_class=target_class, ttl=_TOTAL.total_seconds()
        )
        try:
            return await self._node.execute(intent, authority=authority, target_class=target_class)
        except anyio.get_cancelled_exc_class() as gone:
            # Without the lane's frames: they hold the request as it left, secrets and all.
            raise gone.with_traceback(None)  # noqa: B904 - it is the same one


def _places(errand: Errand, handle: str) -> tuple[plane.CredentialRef, ...]:
    headers = (
        plane.HeaderCredential(handle=handle, name=name, template=f"{{header_{number}}}")
        for number, (name, _secret) in enumerate(errand.secret_headers)
    )
    query = (
        plane.QueryCredential(handle=handle, name=name, template=f"{{query_{number}}}")
        for number, (name, _secret) in enumerate(errand.secret_query)
    )
    certificate = () if errand.certificate is None else (plane.ClientCertificate(handle=handle),)
    return (*headers, *query, *certificate)
