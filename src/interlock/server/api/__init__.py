"""The HTTP API: what a program elsewhere asks of Interlock, by a token.

Owns: paths, documents, statuses, limits per token. Refuses: rules on what may be done; it calls the facade as the token's caller.
Invariants: who shows no good token learns nothing, and costs little; tenant, actor, roles and limits come from the token; every
error is a problem document, and none holds what the server keeps for itself.
"""

from interlock.server.api.application import Api, openapi

__all__ = ["Api", "openapi"]
