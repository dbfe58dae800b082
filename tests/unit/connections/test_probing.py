"""Asking a service whose a credential is."""

from datetime import timedelta

import pytest

from fix_plane import Bench, Intents
from interlock import connections, plane, sdk, testing
from interlock.connectors import github
from interlock.kernel import Secret

pytestmark = pytest.mark.anyio

PROFILE = sdk.AuthProfile(
    profile_id="token",
    base_url="https://api.acme.dev",
    fields=(sdk.Field(name="token", secret=True),),
    apply=(sdk.HeaderPlace(place="header", name="Authorization", template="Bearer {token}"),),
    probe=sdk.Probe(path="/user", subject="/login"),
)


class Nowhere:
    """Holds no stored credential."""

    async def redeem(self, ref: plane.SecretRef, *, host: str, tenant_id: str, run_id: str) -> Secret:
        raise connections.LeaseNotFound(f"no lease {ref.handle}")


class Desk:
    """A lane that answers with a login, and keeps what it was asked."""

    lane_id = "http"
    carries = plane.HttpIntent

    def __init__(self, pending: connections.Pending, *headers: tuple[str, str], login: str = "octo") -> None:
        self.pending, self.login = pending, login
        self.headers = headers
        self.intents: list[plane.HttpIntent] = []

    async def execute(self, intent: plane.HttpIntent, exchange: plane.Exchange) -> None:
        credential, *_ = intent.credentials
        assert isinstance(credential, plane.HeaderCredential)
        use = {"host": intent.host, "tenant_id": intent.tenant_id, "run_id": intent.run_id}
        assert (await self.pending.redeem(credential.ref, **use)).reveal() == "tok-0123456789"
        for part in use:
            with pytest.raises(connections.LeaseNotFound):
                await self.pending.redeem(credential.ref, **use | {part: "other"})
        self.intents.append(intent)
        exchange.leave(1)
        exchange.status, exchange.body, exchange.answered = 200, b'{"login":"%b"}' % self.login.encode(), True
        exchange.headers = self.headers

    async def aclose(self) -> None: ...


@pytest.mark.parametrize(
    ("base_url", "url", "host"),
    [
        ("https://api.acme.dev", "https://api.acme.dev/user", "api.acme.dev:443"),
        ("https://acme.dev:8443/api/v3", "https://acme.dev:8443/api/v3/user", "acme.dev:8443"),
        ("http://[::1]:8080", "http://[::1]:8080/user", "[::1]:8080"),
    ],
)
async def test_the_probe_goes_to_the_service(base_url: str, url: str, host: str):
    intents = Intents()
    pending = connections.Pending(Nowhere())
    desk = Desk(pending)
    bench = Bench(intents, desk)
    probed = await connections.probe(
        PROFILE,
        {"token": Secret("tok-0123456789")},
        base_url=base_url,
        tenant_id="t1",
        errands=connections.Errands(
            pending, bench.node, bench.authorizer, clock=intents.clock, ids=testing.SequentialIds()
        ),
    )
    assert probed == connections.Probed(subject="octo", scopes=None)
    [intent] = desk.intents
    assert (intent.url, intent.allowed_hosts) == (url, (host,))


async def test_an_account_may_be_called_like_what_is_shown_and_no_secret():
    site = sdk.HeaderPlace(place="header", name="X-Site", template="{shown}")
    fields = (*PROFILE.fields, sdk.Field(name="site"))
    profile = PROFILE.model_copy(
        update={"fields": fields, "derive": {"shown": "{site}"}, "apply": (*PROFILE.apply, site)}
    )
    intents, pending = Intents(), connections.Pending(Nowhere())
    bench = Bench(intents, Desk(pending, login="northwind-eu"))
    probed = await connections.probe(
        profile,
        {"token": Secret("tok-0123456789"), "shown": Secret("northwind")},
        base_url="https://api.acme.dev",
        tenant_id="t1",
        errands=connections.Errands(
            pending, bench.node, bench.authorizer, clock=intents.clock, ids=testing.SequentialIds()
        ),
    )
    assert probed.subject == "northwind-eu"


@pytest.mark.parametrize(
    ("stated", "hours"),
    [
        ("{:%Y-%m-%d %H:%M:%S} UTC", 2.0),
        ("{:%Y-%m-%d %H:%M:%S} +0100", 1.0),
        ("{:%Y-%m-%dT%H:%M:%S}Z", 2.0),
        ("{:%Y-%m-%dT%H:%M:%S}-01:00", 3.0),
        ("{:%Y-%m-%d %H:%M:%S}", None),
        ("in {:%H} hours", None),
        ("{:%Y-%m-%d %H:%M:%S} +0200", None),  # the present: what was just accepted has not ended
    ],
)
async def test_the_service_may_say_when_the_credential_ends(stated: str, hours: float | None):
    intents = Intents()
    pending = connections.Pending(Nowhere())
    now = intents.clock.now().replace(microsecond=0)
    header = "github-authentication-token-expiration"
    desk = Desk(pending, (header, stated.format(now + timedelta(hours=2))))
    [profile] = github.connector.manifest.auth
    assert profile.probe is not None
    assert profile.probe.expires_header == header
    bench = Bench(intents, desk)
    probed = await connections.probe(
        profile,
        {"token": Secret("tok-0123456789")},
        base_url="https://api.acme.dev",
        tenant_id="t1",
        errands=connections.Errands(
            pending, bench.node, bench.authorizer, clock=intents.clock, ids=testing.SequentialIds()
        ),
    )
    assert probed.expires_at == (None if hours is None else now + timedelta(hours=hours))
