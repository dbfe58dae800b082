"""What can go wrong with a token."""

from interlock.kernel import NotFoundError, RequestError


class TokenNotFound(NotFoundError):
    """No such token in this tenant."""

    code = "token_not_found"
    next_step = "`interlock tokens list` shows the tokens of this tenant."


class InvalidToken(RequestError):
    """A token cannot be made like that."""

    code = "invalid_token"


class TokenRefused(RequestError):
    """The token is none of ours, has ended, or is revoked."""

    code = "token_refused"
    next_step = "Have one made where the store is: `interlock tokens create`."
