"""What Interlock answers over the network: a node, for clients elsewhere.

Owns: HTTP and WebSocket, who the client is, what a request may cost. Refuses: rules on what may be done; the plane decides.
Invariants: who is not known learns nothing; an execution exists only for the client that started it; no request harms the
node or another client.
"""

from interlock.server.endpoint import NodeEndpoint
from interlock.server.errors import NodeBusy, NodeClosing, RequestTooLarge, RequestTooSlow, Unauthenticated, WrongHost
from interlock.server.identity import Clients
from interlock.server.serving import CannotServe, NodeServer, Tls, serve_node

__all__ = [
    "CannotServe",
    "Clients",
    "NodeBusy",
    "NodeClosing",
    "NodeEndpoint",
    "NodeServer",
    "RequestTooLarge",
    "RequestTooSlow",
    "Tls",
    "Unauthenticated",
    "WrongHost",
    "serve_node",
]
