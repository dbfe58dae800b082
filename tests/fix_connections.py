"""A connection with its credential, for tests of what is decided about them."""

from datetime import UTC, datetime, timedelta

from interlock.connections import (
    INSTALL_LIFE,
    Connection,
    Credential,
    Flow,
    Install,
    InstallState,
    OAuthClient,
    Registration,
    Sealed,
    State,
)

NOW = datetime(2026, 5, 1, tzinfo=UTC)
CONNECTION = Connection(
    connection_id="con_1",
    tenant_id="t1",
    connector_id="acme",
    profile_id="token",
    name="work",
    subject="octo",
    state=State.CONNECTED,
    reason=None,
    base_url=None,
    scopes=frozenset({"read", "write"}),
    current_credential_id="crd_1",
    revision=1,
    created_by="ann",
    created_at=NOW,
    updated_at=NOW,
)
CREDENTIAL = Credential(
    credential_id="crd_1",
    connection_id="con_1",
    tenant_id="t1",
    version=1,
    key_id="key_1",
    nonce=b"n",
    ciphertext=b"c",
    fields=("token",),
    expires_at=None,
    revoked_at=None,
    created_at=NOW,
)
INSTALL = Install(
    install_id="ins_1",
    tenant_id="t1",
    connector_id="acme",
    profile_id="oauth",
    connection_name="work",
    connection_id=None,
    actor="ann",
    flow=Flow.AUTHORIZATION_CODE,
    state=InstallState.INSTALLING,
    scopes_asked=frozenset({"read", "write"}),
    expires_at=NOW + INSTALL_LIFE,
    created_at=NOW,
    updated_at=NOW,
)
SEALED = Sealed(key_id="key_1", nonce=b"n", ciphertext=b"c")
CLIENT = OAuthClient(
    oauth_client_id="ocl_1",
    tenant_id="t1",
    connector_id="acme",
    issuer="https://acme.dev",
    client_id="c-1",
    registration=Registration.DYNAMIC,
    client_auth="basic",
    redirect_uris=("http://127.0.0.1/callback",),
    sealed=SEALED,
    fields=("client_secret",),
    expires_at=NOW + timedelta(days=1),
    created_at=NOW,
)
