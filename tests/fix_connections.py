"""A connection with its credential, for tests of what is decided about them."""

from datetime import UTC, datetime

from interlock.connections import Connection, Credential, State

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
