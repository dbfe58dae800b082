"""The secrets of one request, redeemed just before it is sent: where each stands, and how it is kept out of what is told."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from interlock import plane
from interlock.adapters.lanes.egress import Identity, TlsUse
from interlock.kernel import InterlockError, Redactor, Secret


@dataclass(frozen=True, slots=True)
class Shown:
    """What a request shows of who we are: it goes to the wire and nowhere else."""

    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    query: tuple[str, ...] = field(default=(), repr=False)
    """Parameters, as they stand in the query."""
    tls: TlsUse | None = None
    secrets: tuple[Secret, ...] = ()
    """Those that stand in headers and in the query."""

    def target(self, url: plane.Url) -> str:
        """Path and query as they go to the wire. Where a redirect repeats a secret, the present one takes its place."""
        return url.with_parameters(self.query).target if self.query else url.target

    def told(self, headers: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
        """An answer's headers, without what stood in the query: a service repeats that in redirects and links."""
        if not self.query:
            return tuple(headers)
        redactor = Redactor(self.secrets)
        return tuple((name, redactor.text(value)) for name, value in headers)


async def show(resolver: plane.CredentialResolver, intent: plane.WebIntent) -> Shown:
    """Redeem what the intent refers to. Raises LaneFailure."""
    return await show_at(resolver, intent, intent.credentials, intent.tls, intent.host)


async def show_at(
    resolver: plane.CredentialResolver | None,
    intent: plane.Intent,
    credentials: Sequence[plane.CredentialRef],
    options: plane.TlsOptions | None,
    host: str,
) -> Shown:
    """Redeem these for use at the host, on behalf of the intent. Raises LaneFailure."""
    headers: list[tuple[str, str]] = []
    query: list[str] = []
    secrets: list[Secret] = []
    identity = None

    async def redeem(ref: plane.SecretRef) -> Secret:
        if resolver is None:
            raise _unavailable("the lane has nobody to redeem credentials")
        try:
            return await resolver.redeem(ref, host=host, tenant_id=intent.tenant_id, run_id=intent.run_id)
        except InterlockError as error:
            raise _unavailable(f"no credential: {error.message}", error.code) from error

    for credential in credentials:
        if isinstance(credential, plane.ClientCertificate):
            chain, key = await redeem(credential.chain_ref), await redeem(credential.key_ref)
            identity = Identity(intent.tenant_id, chain, key)
            continue
        secret = await redeem(credential.ref)
        secrets.append(secret)
        try:
            text = credential.render(secret.reveal())
        except ValueError as error:
            raise _unavailable(str(error), "credential_unfit") from error
        if isinstance(credential, plane.HeaderCredential):
            headers.append((credential.name, text))
        else:
            query.append(text)
    use = None if options is None and identity is None else TlsUse(options or plane.TlsOptions(), identity)
    return Shown(tuple(headers), tuple(query), use, tuple(secrets))


def _unavailable(message: str, code: str | None = None) -> plane.LaneFailure:
    return plane.LaneFailure(plane.FailureClass.CREDENTIAL_UNAVAILABLE, message, code=code)
