"""Connections: a tenant's accounts at services, and short leases on their credentials.

Owns: connection states, sealed credential versions, leases, and the choice of the connection that serves a call.
Refuses: keys (it asks a `Cipher`), tables (it asks for `Records`), talking to the service, judging a call.
Invariants: a connection serves its own tenant and its own connector only; a secret leaves only under a committed lease
that has neither expired nor been revoked, for a host that the lease names; a replaced or revoked secret is erased, in
every version.
"""

from interlock.connections import exchange, fields, install_machine, sources
from interlock.connections.answer import Codes
from interlock.connections.changing import Listener
from interlock.connections.checking import Checked, Checking, Verdict
from interlock.connections.clients import OAuthClient, Registration
from interlock.connections.clients import binding as client_binding
from interlock.connections.connections import Connections
from interlock.connections.desk import Begun, Desk, Invitation
from interlock.connections.errands import Errands, Pending, Show
from interlock.connections.errors import (
    AmbiguousConnection,
    ConnectionChanged,
    ConnectionExpired,
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
    NotRenewed,
    ProbeFailed,
    ReauthRequired,
    SecretExposed,
    SecretUnavailable,
    ServiceMismatch,
    SubjectMismatch,
    WrongConnector,
)
from interlock.connections.exchange import service
from interlock.connections.grant import TokenGrant
from interlock.connections.history import ConnectionEvent, Happening
from interlock.connections.history import check as check_history
from interlock.connections.install_errors import (
    CallbackRefused,
    InstallEnded,
    InstallFailed,
    InstallNotFound,
    InstallUnsupported,
    InstallUsed,
    OAuthClientMissing,
)
from interlock.connections.installs import INSTALL_LIFE, Flow, Found, Install, InstallState, Reason, token_digest
from interlock.connections.installs import binding as install_binding
from interlock.connections.leasing import Leases
from interlock.connections.model import (
    MAX_LEASE,
    Connection,
    Credential,
    Lease,
    ManagementMode,
    Refresh,
    Resolved,
    Sealed,
    SourceKind,
    State,
)
from interlock.connections.obtaining import Run
from interlock.connections.ports import (
    Cipher,
    ClientRecords,
    InstallRecords,
    Records,
    SealedRow,
    SecretSource,
    Standing,
)
from interlock.connections.probing import Probed, probe
from interlock.connections.reconnecting import next_step
from interlock.connections.refreshing import Refreshing
from interlock.connections.revoking import Revoker, Revoking
from interlock.connections.sealing import binding_of as credential_binding
from interlock.connections.shapes import Answer
from interlock.connections.showing import shown
from interlock.connections.steps import Means
from interlock.connections.transitions import ALLOWED, USABLE
from interlock.connections.unwanted import Unwanted

__all__ = [
    "ALLOWED",
    "INSTALL_LIFE",
    "MAX_LEASE",
    "USABLE",
    "AmbiguousConnection",
    "Answer",
    "Begun",
    "CallbackRefused",
    "Checked",
    "Checking",
    "Cipher",
    "ClientRecords",
    "Codes",
    "Connection",
    "ConnectionChanged",
    "ConnectionEvent",
    "ConnectionExpired",
    "ConnectionNotFound",
    "ConnectionRevoked",
    "Connections",
    "Credential",
    "CredentialDamaged",
    "Desk",
    "ErrandFailed",
    "Errands",
    "Flow",
    "Found",
    "GrantRefused",
    "Happening",
    "HostNotLeased",
    "Install",
    "InstallEnded",
    "InstallFailed",
    "InstallNotFound",
    "InstallRecords",
    "InstallState",
    "InstallUnsupported",
    "InstallUsed",
    "InvalidGrant",
    "InvalidTransition",
    "Invitation",
    "Lease",
    "LeaseExpired",
    "LeaseNotFound",
    "LeaseRevoked",
    "Leases",
    "Listener",
    "ManagementMode",
    "Means",
    "MissingScopes",
    "NameTaken",
    "NoConnection",
    "NotRenewed",
    "OAuthClient",
    "OAuthClientMissing",
    "Pending",
    "ProbeFailed",
    "Probed",
    "Reason",
    "ReauthRequired",
    "Records",
    "Refresh",
    "Refreshing",
    "Registration",
    "Resolved",
    "Revoker",
    "Revoking",
    "Run",
    "Sealed",
    "SealedRow",
    "SecretExposed",
    "SecretSource",
    "SecretUnavailable",
    "ServiceMismatch",
    "Show",
    "SourceKind",
    "Standing",
    "State",
    "SubjectMismatch",
    "TokenGrant",
    "Unwanted",
    "Verdict",
    "WrongConnector",
    "check_history",
    "client_binding",
    "credential_binding",
    "exchange",
    "fields",
    "install_binding",
    "install_machine",
    "next_step",
    "probe",
    "service",
    "shown",
    "sources",
    "token_digest",
]
