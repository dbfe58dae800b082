"""Services with ways to tokens of their own: an app that is installed, a login in two steps, a session, an MCP server."""

from typing import Any, Final
from urllib.parse import urlencode

from joserfc import jwk, jwt
from joserfc.errors import JoseError

from auth_server.endpoints import resource_described
from auth_server.grants import Server
from auth_server.records import Books, Token
from auth_server.talk import Asked, Said, said

APP_ID: Final = "4711"
INSTALLATION: Final = "1001"
_LONGEST_JWT: Final = 600
_APP_TOKENS_LIVE: Final = 3600


def installation_token(server: Server, asked: Asked) -> Said:
    """What GitHub does for an app: its own JWT becomes a token of an installation."""
    books = server.books
    installation = asked.path.split("/")[3]
    if not _is_app(books, asked.bearer):
        return said(401, {"message": "A JSON web token could not be decoded"})
    if installation != INSTALLATION:
        return said(404, {"message": "Not Found"})
    token = _grant(books, subject=f"app-{APP_ID}", kind="ghs", lifetime=_APP_TOKENS_LIVE)
    ends = books.moment(token.issued_at + token.lifetime)
    return said(201, {"token": token.access_token, "expires_at": ends, "permissions": {"issues": "write"}})


def install(server: Server, asked: Asked) -> Said:
    """A person installs the app, and lets it know who they are."""
    books = server.books
    code = books.make("code")
    books.app_codes.add(code)
    made = {"setup_action": "request"}
    if books.installs_at is not None:
        made = {"setup_action": "install", "installation_id": books.installs_at}
    told = {"code": code, **made, "state": asked.args["state"][0]}
    return Said(302, headers={"Location": f"{books.app_callback}?{urlencode(told)}"})


def user_token(server: Server, asked: Asked) -> Said:
    """The code of a person, once, for a token of theirs; refusals come with 200."""
    books = server.books
    form = {name: values[0] for name, values in asked.form.items()}
    app = books.clients.get(form.get("client_id", ""))
    if app is None or app.client_secret != form.get("client_secret"):
        return said(200, {"error": "incorrect_client_credentials"})
    if form.get("code") not in books.app_codes:
        return said(200, {"error": "bad_verification_code"})
    books.app_codes.remove(form["code"])
    token = _grant(books, subject=books.person, kind="ghu", lifetime=_APP_TOKENS_LIVE)
    return said(200, {"access_token": token.access_token, "token_type": "bearer", "scope": ""})


def repositories(server: Server, asked: Asked) -> Said:
    """What a person may see of an installation: nothing of another's."""
    token = server.books.valid(asked.bearer)
    if token is None or token.subject != server.books.person:
        return said(401, {"message": "Bad credentials"})
    if asked.path.split("/")[3] != INSTALLATION:
        return said(404, {"message": "Not Found"})
    return said(200, {"total_count": 0, "repositories": []})


def _is_app(books: Books, text: str | None) -> bool:
    """Whether it is signed by the app's key, by RS256, of now, and for at most ten minutes."""
    if books.app_key is None or text is None:
        return False
    registry = jwt.JWTClaimsRegistry(now=int(books.now()), leeway=60, iss={"essential": True, "value": APP_ID})
    try:
        claims = jwt.decode(text, jwk.import_key(books.app_key, "RSA"), algorithms=["RS256"]).claims
        registry.validate(claims)
    except (JoseError, ValueError):
        return False
    lives = all(isinstance(claims.get(name), int) for name in ("iat", "exp"))
    return lives and claims["exp"] - books.now() <= _LONGEST_JWT


def app(server: Server, asked: Asked) -> Said:
    """Whose JWT it is, for an app that shows its own."""
    if not _is_app(server.books, asked.bearer):
        return said(401, {"message": "A JSON web token could not be decoded"})
    return said(200, {"login": f"app-{APP_ID}"})


def login(server: Server, asked: Asked) -> Said:
    """The first of two steps: a name and a password for a ticket."""
    given: dict[str, Any] = asked.json.get("auth", {})
    if (given.get("user"), given.get("password")) != (server.books.person, server.books.password):
        return said(200, {"status": "failed", "error": {"code": "BAD_LOGIN"}})
    ticket = server.books.make("tk")
    server.books.tickets.add(ticket)
    return said(200, {"status": "ok", "data": {"ticket": ticket}})


def exchange(server: Server, asked: Asked) -> Said:
    """The second: the ticket, once, for a token that ends at a moment in milliseconds."""
    ticket = asked.headers.get("x-ticket", "")
    if ticket not in server.books.tickets:
        return said(403, {"error": {"code": "NO_TICKET"}})
    server.books.tickets.remove(ticket)
    token = _grant(server.books, subject=server.books.person, kind="xt", lifetime=server.books.lifetime)
    ends = int((token.issued_at + token.lifetime) * 1000)
    return said(200, {"data": {"session": {"token": token.access_token, "validUntil": str(ends)}}})


def begin_session(server: Server, asked: Asked) -> Said:
    """A form with a name and a password; the token comes in a form too."""
    form = asked.form
    if (form.get("username"), form.get("password")) != ([server.books.person], [server.books.password]):
        return Said(401, b"error=wrong", {"Content-Type": "text/plain"})
    token = _grant(server.books, subject=server.books.person, kind="st", lifetime=server.books.lifetime)
    return Said(200, f"SessionId={token.access_token}".encode(), {"Content-Type": "application/x-www-form-urlencoded"})


def end_session(server: Server, asked: Asked) -> Said:
    """Log out."""
    token = server.books.valid(asked.bearer)
    if token is None:
        return said(401, {"message": "no such session"})
    token.revoked = True
    return Said(204)


def mcp(server: Server, asked: Asked) -> Said:
    """An MCP server's door: it takes tokens that were made for it alone, and says where they are to be had."""
    token = server.books.valid(asked.bearer, resource=server.books.resource)
    if token is None:
        where = f"{server.books.url}/.well-known/oauth-protected-resource/mcp"
        scope = "" if server.books.challenge_scope is None else f', scope="{server.books.challenge_scope}"'
        return said(401, {"error": "invalid_token"}, WWW_Authenticate=f'Bearer resource_metadata="{where}"{scope}')
    return said(200, {"login": token.subject, **resource_described(server.books)})


def _grant(books: Books, *, subject: str, kind: str, lifetime: int) -> Token:
    text = books.make(kind)
    books.tokens.append(
        Token(
            access_token=text,
            refresh_token=None,
            client_id=subject,
            scope="",
            subject=subject,
            resource=None,
            family=text,
            issued_at=books.now(),
            lifetime=lifetime,
            now=books.now,
        )
    )
    return books.tokens[-1]
