"""Texts to vectors by an endpoint, through the plane."""

from datetime import timedelta
from typing import Final

from interlock import connections, memory, plane
from interlock.adapters import memory as adapter
from interlock.kernel import Retry

_TOO_LARGE: Final = plane.FailureClass.RESPONSE_TOO_LARGE.value


class Carried:
    """`memory.Transport`: each request is an errand of the tenant's, to an address that the installation allows (`egress_allow`),
    with its evidence kept. The endpoint's own `allow` counts for nothing here."""

    largest: int = connections.Errands.largest

    def __init__(self, endpoint: memory.Endpoint, errands: connections.Errands) -> None:
        """Raises InvalidConfig."""
        base = adapter.base_of(endpoint)
        self._url = f"{base.scheme}://{base.host_port}{base.target}/embeddings"
        self._within = timedelta(seconds=endpoint.timeout)
        key = adapter.key_of(endpoint)
        self._secrets = {} if key is None else {"key": key}
        self._told = f"the endpoint for embeddings at {base.host_port}"
        self._errands = errands

    async def post(self, body: bytes, *, most: int, tenant: str) -> memory.Answer:
        """As the port says."""
        try:
            answer = await self._errands.ask(
                "POST",
                self._url,
                show=self._shown,
                secrets=self._secrets,
                tenant_id=tenant,
                headers=(("content-type", "application/json"),),
                body=body,
                limit=self._within,
            )
        except connections.ErrandFailed as error:
            raise _meaning(self._told, error) from error
        if len(answer.body) > most:
            raise memory.BrokenCapability(f"{self._told} answers with more than {most} bytes")
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return memory.Answer(answer.status, answer.body, headers)

    async def close(self) -> None:
        """The errands are not its own."""

    def _shown(self, handle: str) -> tuple[plane.CredentialRef, ...]:
        if not self._secrets:
            return ()
        return (plane.HeaderCredential(handle=handle, name="authorization", template="Bearer {key}"),)


def _meaning(told: str, error: connections.ErrandFailed) -> memory.MemoryFault:
    code = str(error.details.get("failure_code", ""))
    message, step = f"{told} cannot be asked: {error.message}", error.next_step
    if code == _TOO_LARGE:
        return memory.BrokenCapability(f"{told} answers with more than {Carried.largest} bytes", next_step=step)
    if code.endswith("_timeout") or code == plane.FailureClass.DEADLINE_PASSED.value:
        return memory.DeadlineExceeded(f"{told} did not answer in time: {error.message}")
    if error.retry is Retry.LATER:
        return memory.ProviderUnavailable(message, next_step=step)
    return memory.InvalidConfig(message, next_step=step)
