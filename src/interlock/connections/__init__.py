"""Connections: a tenant's accounts at services, and short leases on their credentials.

Owns: connection states, sealed credential versions, leases, and the choice of the connection that serves a call.
Refuses: keys (it asks a `Cipher`), tables (it asks for `Records`), talking to the service, judging a call.
Invariants: a connection serves its own tenant and its own connector only; a secret leaves only under a committed lease
that has neither expired nor been revoked, for a host that the lease names; a replaced or revoked secret is erased, in
every version.
"""

from interlock.connections import fields
from interlock.connections.connections import Connections
from interlock.connections.errands import Errands, Pending
from interlock.connections.errors import (
    AmbiguousConnection,
    ConnectionChanged,
    ConnectionDisabled,
    ConnectionExpired,
    ConnectionInstalling,
    ConnectionNotFound,
    ConnectionRevoked,
    CredentialDamaged,
    ErrandFailed,
    GrantRefused,
    HostNotLeased,
    InvalidGrant,
    InvalidTransition,
    LeaseExpired,
    LeaseNotFound,
    LeaseRevoked,
    MissingScopes,
    NameTaken,
    NoConnection,
    ProbeFailed,
    ReauthRequired,
    ServiceMismatch,
    SubjectMismatch,
    WrongConnector,
)
from interlock.connections.exchange import service
from interlock.connections.grant import TokenGrant
from interlock.connections.model import MAX_LEASE, Connection, Credential, Lease, Resolved, State
from interlock.connections.ports import Cipher, Records, Sealed, Standing
from interlock.connections.probing import Probed, probe
from interlock.connections.showing import shown
from interlock.connections.transitions import ALLOWED, USABLE

__all__ = [
    "ALLOWED",
    "MAX_LEASE",
    "USABLE",
    "AmbiguousConnection",
    "Cipher",
    "Connection",
    "ConnectionChanged",
    "ConnectionDisabled",
    "ConnectionExpired",
    "ConnectionInstalling",
    "ConnectionNotFound",
    "ConnectionRevoked",
    "Connections",
    "Credential",
    "CredentialDamaged",
    "ErrandFailed",
    "Errands",
    "GrantRefused",
    "HostNotLeased",
    "InvalidGrant",
    "InvalidTransition",
    "Lease",
    "LeaseExpired",
    "LeaseNotFound",
    "LeaseRevoked",
    "MissingScopes",
    "NameTaken",
    "NoConnection",
    "Pending",
    "ProbeFailed",
    "Probed",
    "ReauthRequired",
    "Records",
    "Resolved",
    "Sealed",
    "ServiceMismatch",
    "Standing",
    "State",
    "SubjectMismatch",
    "TokenGrant",
    "WrongConnector",
    "fields",
    "probe",
    "service",
    "shown",
]
