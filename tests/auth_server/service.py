"""Who answers what: the authorization server's endpoints, and the service that takes its tokens."""

import re
from collections.abc import Callable, Mapping
from html import escape
from typing import Final

from auth_server import rooms
from auth_server.endpoints import described, resource_described
from auth_server.grants import Server
from auth_server.library import rfc6749
from auth_server.talk import Asked, Said, said

_INSTALLATION: Final = re.compile(r"/app/installations/[0-9]+/access_tokens")
_REPOSITORIES: Final = re.compile(r"/user/installations/[0-9]+/repositories")

Answering = Callable[[Server, Asked], Said]


def handle(server: Server, asked: Asked) -> Said:
    """The answer to a request."""
    found = _ENDPOINTS.get((asked.method, asked.path))
    if _INSTALLATION.fullmatch(asked.path) and asked.method == "POST":
        found = rooms.installation_token
    if _REPOSITORIES.fullmatch(asked.path) and asked.method == "GET":
        found = rooms.repositories
    return said(404, {"message": "Not Found"}) if found is None else found(server, asked)


def _authorize(server: Server, asked: Asked) -> Said:
    """Ask the person, or know the answer."""
    books = server.books
    try:
        grant = server.get_consent_grant(asked)
    except rfc6749.OAuth2Error as error:
        return server.handle_error_response(None, error)
    if books.asks and asked.method == "GET":
        names = ", ".join(asked.args.get("scope", []))
        client = escape(grant.request.payload.client_id)
        page = f"""<!doctype html><html lang="en"><title>Sign in</title><h1>Let {client} in?</h1>
<p>{escape(books.person)}, it asks for: {escape(names) or "nothing"}.</p>
<form method="post"><button name="answer" value="yes">Allow</button> <button name="answer" value="no">Deny</button></form>
</html>"""
        return Said(200, page.encode(), {"Content-Type": "text/html; charset=utf-8"})
    agreed = asked.form.get("answer") == ["yes"] if books.asks else not books.denies
    return server.create_authorization_response(
        server.create_oauth2_request(asked), grant_user=books.person if agreed else None, grant=grant
    )


def _token(server: Server, asked: Asked) -> Said:
    form = asked.form
    twice = [name for name, values in form.items() if len(values) > 1]
    ways = ["authorization" in asked.headers, "client_secret" in form, "client_assertion" in form]
    if not form or twice or sum(ways) > 1:  # RFC 6749 §3.2 and §2.3
        return said(400, {"error": "invalid_request"})
    return server.create_token_response(asked)


def _activate(server: Server, asked: Asked) -> Said:
    """The page where the person types the code."""
    if asked.method == "GET":
        code = escape(asked.args.get("user_code", [""])[0])
        page = f"""<!doctype html><html lang="en"><title>Connect a device</title><h1>Connect a device</h1>
<form method="post"><label>Code <input name="user_code" value="{code}"></label>
<button name="answer" value="yes">Allow</button> <button name="answer" value="no">Deny</button></form></html>"""
        return Said(200, page.encode(), {"Content-Type": "text/html; charset=utf-8"})
    typed = asked.form.get("user_code", [""])[0]
    if all(device.user_code != typed for device in server.books.devices.values()):
        return Said(400, b"No such code.", {"Content-Type": "text/plain"})
    server.books.answer_device(typed, allowed=asked.form.get("answer") == ["yes"])
    return Said(200, b"Thank you.", {"Content-Type": "text/plain"})


def _endpoint(name: str) -> Answering:
    return lambda server, asked: server.create_endpoint_response(name, asked)


def _me(server: Server, asked: Asked) -> Said:
    """Whose token it is."""
    token = server.books.valid(asked.bearer)
    if token is None:
        return said(401, {"message": "Bad credentials"}, WWW_Authenticate='Bearer error="invalid_token"')
    return said(200, {"login": token.subject}, X_OAuth_Scopes=", ".join(token.scope.split()))


def _note(server: Server, asked: Asked) -> Said:
    """Write something down."""
    if server.books.valid(asked.bearer) is None:
        return said(401, {"message": "Bad credentials"})
    server.books.notes.append(asked.json.get("text", ""))
    return said(201, {"number": len(server.books.notes)})


_ENDPOINTS: Final[Mapping[tuple[str, str], Answering]] = {
    ("GET", "/authorize"): _authorize,
    ("POST", "/authorize"): _authorize,
    ("POST", "/token"): _token,
    ("POST", "/device"): _endpoint("device_authorization"),
    ("GET", "/activate"): _activate,
    ("POST", "/activate"): _activate,
    ("POST", "/revoke"): _endpoint("revocation"),
    ("POST", "/introspect"): _endpoint("introspection"),
    ("POST", "/register"): _endpoint("client_registration"),
    ("GET", "/.well-known/oauth-authorization-server"): lambda server, _: said(200, described(server.books)),
    ("GET", "/.well-known/openid-configuration"): lambda server, _: said(200, described(server.books)),
    ("GET", "/.well-known/oauth-protected-resource/mcp"): lambda server, _: said(200, resource_described(server.books)),
    ("GET", "/mcp"): rooms.mcp,
    ("POST", "/mcp"): rooms.mcp,
    ("GET", "/app"): rooms.app,
    ("GET", "/apps/acme/installations/new"): rooms.install,
    ("POST", "/login/oauth/access_token"): rooms.user_token,
    ("POST", "/login"): rooms.login,
    ("POST", "/exchange"): rooms.exchange,
    ("POST", "/session"): rooms.begin_session,
    ("DELETE", "/session"): rooms.end_session,
    ("GET", "/me"): _me,
    ("POST", "/notes"): _note,
}
