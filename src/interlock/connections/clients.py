"""OAuth clients: who we are to a service's authorization server."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from interlock import sdk
from interlock.connections.model import Sealed
from interlock.kernel import canonical


class Registration(StrEnum):
    """How the authorization server came to know a client: by registration (RFC 7591) or by a document at its id's address."""

    DYNAMIC = "dynamic"
    METADATA = "metadata"


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuthClient:
    """A client that we registered with an issuer. `fields` names the secrets in `sealed`, which a public client lacks."""

    oauth_client_id: str
    tenant_id: str
    connector_id: str
    issuer: str
    client_id: str
    registration: Registration
    client_auth: sdk.grants.ClientAuth
    redirect_uris: Sequence[str]
    sealed: Sealed | None
    fields: tuple[str, ...]
    expires_at: datetime | None
    created_at: datetime


def binding(client: OAuthClient) -> bytes:
    """The associated data that ties the sealed secrets to their row."""
    return canonical(
        {
            "contract": "interlock.oauth-client/v1",
            "tenant_id": client.tenant_id,
            "oauth_client_id": client.oauth_client_id,
            "issuer": client.issuer,
            "client_id": client.client_id,
            "fields": list(client.fields),
        }
    )
