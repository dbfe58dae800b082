"""A small authorization server with a service behind it, on loopback: strict about what a client must get right, and wrong in
the ways that a test asks for."""

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any
from urllib.parse import parse_qsl, unquote_plus, urlencode, urlsplit

CLIENT_ID, CLIENT_SECRET = "client-1", "shh-client-secret+0123456789/"


class TokenServer:
    """What it knows and does; `url` is where it listens."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.begin_anew()

    def begin_anew(self) -> None:
        """Know nobody, and do nothing wrong."""
        self.redirect_uri = "http://127.0.0.1:7777/callback"
        self.subject, self.issuer = "octo", self.url
        self.granted: str | None = None
        self.refusal: tuple[int, bytes] | None = None
        """Instead of the next answers with tokens: a status and a body."""
        self.denies: str | None = None
        """With which error a person's answer comes back."""
        self.rejects_tokens = False
        self.typed, self.interval = False, 5
        self.rotates = True
        """Whether a refresh token is followed by another one and ends; used twice, it ends all that came of it."""
        self.between: Callable[[], None] | None = None
        """Comes after a refresh was done, and before its answer leaves."""
        self.holds: tuple[Event, Event] | None = None
        """Whoever asks whose a token is sets the first, and is answered after the second."""
        self.calls: Counter[str] = Counter()
        self._fresh: set[str] = set()
        self.referrers: set[str | None] = set()
        self._codes: dict[str, dict[str, str]] = {}
        self._tokens: dict[str, str] = {}
        self._made = 0

    def authorize(self, query: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        asked = (query.get("client_id"), query.get("redirect_uri"), query.get("response_type"))
        if asked != (CLIENT_ID, self.redirect_uri, "code") or query.get("code_challenge_method") != "S256":
            return 400, {}, b"not for that client"
        told = {"state": query["state"], "iss": self.issuer}
        if self.denies is not None:
            told |= {"error": self.denies, "error_description": "the provider's own words"}
        else:
            code = f"code-{len(self._codes)}-canary"
            self._codes[code] = query
            told["code"] = code
        return 302, {"location": f"{self.redirect_uri}?{urlencode(told)}"}, b""

    def token(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, str], bytes]:
        kind = form.get("grant_type", "")
        self.calls[kind] += 1
        pair = base64.b64decode(authorization.removeprefix("Basic ")).decode().split(":")
        public = kind.endswith("device_code") and form.get("client_id") == CLIENT_ID
        if not public and [unquote_plus(each) for each in pair] != [CLIENT_ID, CLIENT_SECRET]:
            return _json(401, {"error": "invalid_client"})
        if self.refusal is not None:
            return self.refusal[0], {"content-type": "application/json"}, self.refusal[1]
        if kind == "authorization_code":
            asked = self._codes.pop(form["code"], None)
            hashed = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
            fits = asked is not None and asked["redirect_uri"] == form.get("redirect_uri")
            challenge = base64.urlsafe_b64encode(hashed).rstrip(b"=").decode()
            if asked is None or not fits or asked["code_challenge"] != challenge:
                return _json(400, {"error": "invalid_grant", "error_description": "the provider's own words"})
            return self._grant(asked.get("scope", ""))
        if kind.endswith("device_code"):
            if form.get("device_code") != "device-code-canary":
                return _json(400, {"error": "invalid_grant"})
            return self._grant("read") if self.typed else _json(400, {"error": "authorization_pending"})
        if kind == "refresh_token":
            return self._refresh(form["refresh_token"])
        if kind == "client_credentials":
            return self._grant(form.get("scope", ""))
        return _json(400, {"error": "unsupported_grant_type"})

    def device(self) -> tuple[int, dict[str, str], bytes]:
        codes = {"device_code": "device-code-canary", "user_code": "WDJB-MJHT", "verification_uri": f"{self.url}/go"}
        return _json(200, {**codes, "expires_in": 300, "interval": self.interval})

    def me(self, authorization: str) -> tuple[int, dict[str, str], bytes]:
        if self.holds is not None:
            self.holds[0].set()
            self.holds[1].wait()
        token = authorization.removeprefix("Bearer ")
        if self.rejects_tokens or token not in self._tokens:
            return _json(401, {"message": "who are you"})
        return _json(200, {"login": self._tokens[token]})

    def _refresh(self, shown: str) -> tuple[int, dict[str, str], bytes]:
        if shown not in self._fresh:
            self._fresh.clear()
            self._tokens.clear()
            return _json(400, {"error": "invalid_grant"})
        status, headers, body = self._grant("read write")
        if self.rotates:
            self._fresh.discard(shown)
        else:
            told = json.loads(body)
            status, headers, body = _json(200, {name: told[name] for name in told if name != "refresh_token"})
        if self.between is not None:
            self.between()
        return status, headers, body

    def _grant(self, scope: str) -> tuple[int, dict[str, str], bytes]:
        token = f"at-canary-{self._made:06}"
        self._made += 1
        self._tokens[token] = self.subject
        told = {"access_token": token, "refresh_token": f"rt-canary-{self._made:06}", "token_type": "bearer"}
        self._fresh.add(told["refresh_token"])
        return _json(200, {**told, "expires_in": 3600, "scope": scope if self.granted is None else self.granted})


def _json(status: int, body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
    return status, {"content-type": "application/json"}, json.dumps(body).encode()


@contextmanager
def serving() -> Generator[TokenServer]:
    """One that listens for as long as the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            knows.referrers.add(self.headers.get("referer"))
            query = dict(parse_qsl(url.query))
            self._say(*(knows.me(self._shown()) if url.path == "/me" else knows.authorize(query)))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
            form = dict(parse_qsl(body))
            self._say(*(knows.device() if self.path == "/device" else knows.token(form, self._shown())))

        def _shown(self) -> str:
            return self.headers.get("authorization", "")

        def _say(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(body))}.items():
                self.send_header(name, value)
            with suppress(ConnectionError):  # whoever asked may be gone
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            """Silence."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        knows = TokenServer(f"http://127.0.0.1:{server.server_address[1]}")
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield knows
        finally:
            server.shutdown()
            thread.join()
