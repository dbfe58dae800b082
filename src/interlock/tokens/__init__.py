"""API tokens: by what a request from elsewhere shows whose it is.

Owns: making, recognising and ending them; what they may do. Refuses: HTTP, and to show one again. Invariants: 256 bits of
chance, of which only a digest is kept; a token says tenant, actor, roles and limits, and no request says otherwise; one that is
unknown, has ended or is revoked is told apart for nobody.
"""

from interlock.tokens.errors import InvalidToken, TokenNotFound, TokenRefused
from interlock.tokens.model import ADMIN, CALLER, MAX_LIFE, OPERATOR, Token
from interlock.tokens.records import Records
from interlock.tokens.tokens import Tokens

__all__ = [
    "ADMIN",
    "CALLER",
    "MAX_LIFE",
    "OPERATOR",
    "InvalidToken",
    "Records",
    "Token",
    "TokenNotFound",
    "TokenRefused",
    "Tokens",
]
