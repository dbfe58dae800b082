"""What Interlock answers over the network: the HTTP API, pages on which people connect accounts, and a node for others.

Owns: HTTP and WebSocket, HTML, who the client is, what a request may cost. Refuses: rules on what may be done; the plane and
the rooms decide. Invariants: who is not known learns nothing; an execution exists only for the client that started it; an
account is joined only in the browser that has shown whose it is and to whom; no request harms the server or another client.
"""

from interlock.server.connect import CALLBACK, ConnectPages
from interlock.server.endpoint import NodeEndpoint
from interlock.server.errors import (
    Forbidden,
    NodeBusy,
    NodeClosing,
    RequestTooLarge,
    RequestTooSlow,
    TooManyRequests,
    Unauthenticated,
    WrongHost,
    WrongOrigin,
)
from interlock.server.front import Front, is_loopback, open_front
from interlock.server.health import Health
from interlock.server.hooks import Hooks
from interlock.server.identity import Clients
from interlock.server.serving import CannotServe, Server, Tls, serve_node, serve_pages

__all__ = [
    "CALLBACK",
    "CannotServe",
    "Clients",
    "ConnectPages",
    "Forbidden",
    "Front",
    "Health",
    "Hooks",
    "NodeBusy",
    "NodeClosing",
    "NodeEndpoint",
    "RequestTooLarge",
    "RequestTooSlow",
    "Server",
    "Tls",
    "TooManyRequests",
    "Unauthenticated",
    "WrongHost",
    "WrongOrigin",
    "is_loopback",
    "open_front",
    "serve_node",
    "serve_pages",
]
