"""The pages on which a person connects an account, as an ASGI application. They are for whoever has the link.

GET  /connect/LINK         what is asked for, for whom, by whom
POST /connect/LINK         on to the service; the install is bound to this browser by a cookie
GET  /oauth/callback       where the service sends the browser back to
GET  /connect/account/ID   whose account it is, or how it ended; in the browser that began
POST /connect/account/ID   `answer=join` or `cancel`, from that page
GET  /healthz              204 while the store answers
"""

import logging
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, urlsplit

import anyio
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from interlock import connections, kernel
from interlock.server import html
from interlock.server.bodies import read_body
from interlock.server.errors import NodeBusy, RequestTooLarge, RequestTooSlow, WrongHost
from interlock.server.gate import Door, tell_operator

if TYPE_CHECKING:
    from interlock import app

CALLBACK: Final = "/oauth/callback"
"""Where the browser comes back to, below the server's own address: it is registered so at the service."""

HEALTH: Final = "/healthz"

HEALTH_SECONDS: Final = 5.0
"""How long the store may take to answer."""

_MAX_FORM: Final = 4_096
_log: Final = logging.getLogger(__name__)
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{html.STYLE_HASH}'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_TROUBLES: Final[tuple[tuple[type[Exception], int, str, str], ...]] = (
    (connections.InstallNotFound, 404, "Nothing here", "Check the link, or ask for a new one."),
    (connections.InstallEnded, 410, "This link has ended", "It works once, and for ten minutes. Ask for a new one."),
    (connections.InstallUsed, 409, "This link was used", "Finish it where you began, or ask for a new one."),
    (
        connections.CallbackRefused, 400, "This does not belong together",
        "Go back to the browser in which you began, with cookies allowed. Nothing was connected.",
    ),
    (connections.ConnectionChanged, 409, "Nothing was connected", html.why(connections.Reason.CONNECTION_CHANGED)),
    (WrongHost, 421, "Wrong address", "This server does not know itself by that name."),
    (RequestTooLarge, 413, "Too much", "The request is larger than what this page takes."),
    (RequestTooSlow, 408, "Too slow", "The request did not arrive in time. Try again."),
    (TimeoutError, 503, "Too slow", "It took too long. Try again."),
    (NodeBusy, 503, "Not now", "Too many people are here. Try again in a while."),
    (kernel.StoreError, 503, "Not now", "Try again in a while."),
    (kernel.RequestError, 400, "This cannot be read", "Begin with the link again."),
    (kernel.InterlockError, 500, "Something is wrong here", "Nothing was connected. Tell whoever sent you the link."),
)  # fmt: skip
"""What people are told of errors. Of what they, or a service, have sent, nothing is repeated."""


class ConnectPages(Door):
    """The pages of one Interlock, which is reached at `origin`, such as `https://connect.example.com`."""

    def __init__(self, il: "app.Interlock", *, origin: str) -> None:
        self._il = il
        self._origin = origin
        self._host = urlsplit(origin).netloc
        secure = origin.startswith("https://")
        self._cookie = "__Host-interlock" if secure else "interlock"
        self._attributes = "; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax" + ("; Secure" if secure else "")
        routes = [
            Route("/connect/{link}", self._ask),
            Route("/connect/{link}", self._leave, methods=["POST"]),
            Route(CALLBACK, self._come_back),
            Route("/connect/account/{install_id}", self._account),
            Route("/connect/account/{install_id}", self._decide, methods=["POST"]),
            Route(HEALTH, self._health),
        ]
        super().__init__(Router(routes, redirect_slashes=False, default=_nothing_here))

    def address(self, link: kernel.Secret) -> str:
        """What to give to the person who is to connect an account."""
        return f"{self._origin}/connect/{link.reveal()}"

    def admit(self, scope: Scope) -> None:
        super().admit(scope)
        if scope["type"] != "http":
            raise HTTPException(404)
        # Who asks for the health of a server may know it by another name.
        if scope["path"] != HEALTH and HTTPConnection(scope).headers.get("host", "").lower() != self._host:
            raise WrongHost("these pages are not at the host that the request names")

    def answer(self, error: Exception) -> Response:
        if isinstance(error, HTTPException):
            page = _page(html.trouble("Nothing here", "Check the link, or ask for a new one."), error.status_code)
            page.headers.update(error.headers or {})  # of a wrong method: which there are
            return page
        if isinstance(error, connections.InstallFailed):
            if error.reason.is_operators:
                _log.warning("%s", error.message)
            else:
                _log.info("%s", error.message)
            return _page(html.trouble("Nothing was connected", f"{html.why(error.reason)} Ask for a new link."), 400)
        found = next((each for each in _TROUBLES if isinstance(error, each[0])), None)
        if found is None or found[1] == 500:
            tell_operator(error)
            if isinstance(error, kernel.InterlockError):
                _log.warning("nothing was connected: %s. %s", error.message, error.next_step)
        _, status, title, text = found or _TROUBLES[-1]
        return _page(html.trouble(title, text), status)

    # -- requests

    async def _ask(self, request: Request) -> Response:
        install = await self._il.connections.installs.find_by_link(_link(request))
        connections.install_machine.check_unbegun(install)
        return _page(html.asking(install, await self._service(install), await self._host_of(install)))

    async def _leave(self, request: Request) -> Response:
        install = await self._il.connections.installs.find_by_link(_link(request))
        browser = self._browser(request) or self._il.connections.installs.new_browser()
        url = await self._of(install).authorize(
            install.install_id, browser=browser, redirect_uri=self._origin + CALLBACK
        )
        response = _page(html.leaving(url, urlsplit(url).netloc))
        response.headers["Set-Cookie"] = f"{self._cookie}={browser.reveal()}{self._attributes}"
        return response

    async def _come_back(self, request: Request) -> Response:
        query = request.scope["query_string"].decode("latin-1")
        install = await self._il.connections.installs.take_callback(
            query, browser=self._browser(request), redirect_uri=self._origin + CALLBACK
        )
        # The address with the code goes no further, and is not loaded again.
        return RedirectResponse(f"/connect/account/{install.install_id}", 303, headers=_HEADERS)

    async def _account(self, request: Request) -> Response:
        return await self._standing(request, self._browser(request))

    async def _decide(self, request: Request) -> Response:
        browser = self._browser(request)
        install = await self._find(request, browser)
        given = parse_qs((await read_body(request, limit=_MAX_FORM)).decode("latin-1"))
        if browser is None or given.get("proof") != [connections.token_digest(browser)]:
            raise connections.CallbackRefused("the answer does not come from the page that asked")
        if install.state is connections.InstallState.PROVEN:
            if given.get("answer") == ["join"]:
                await self._of(install).complete(install.install_id, browser=browser)
            else:
                await self._of(install).cancel(install.install_id)
        return await self._standing(request, browser)

    async def _health(self, _request: Request) -> Response:
        with anyio.fail_after(HEALTH_SECONDS):
            await self._il.connections.installs.list(limit=1)
        return Response(status_code=204, headers=_HEADERS)

    # -- what they need

    async def _standing(self, request: Request, browser: kernel.Secret | None) -> Response:
        install = await self._find(request, browser)
        service = await self._service(install)
        if install.state is connections.InstallState.PROVEN and browser is not None:
            return _page(html.account(install, service, connections.token_digest(browser)))
        return _page(html.ended(install, service))

    async def _find(self, request: Request, browser: kernel.Secret | None) -> connections.Install:
        install_id = str(request.path_params["install_id"])
        return await self._il.connections.installs.find_by_browser(install_id, browser=browser)

    def _of(self, install: connections.Install) -> "app.Installs":
        """Acting for whoever began the install."""
        caller = kernel.Caller(tenant_id=install.tenant_id, actor=install.actor)
        return self._il.as_caller(caller).connections.installs

    def _browser(self, request: Request) -> kernel.Secret | None:
        """The cookie of this browser, if it is one of ours."""
        found = request.cookies.get(self._cookie, "")
        return kernel.Secret(found) if _TOKEN.fullmatch(found) else None

    async def _service(self, install: connections.Install) -> str:
        found = await self._il.catalog.fetch_connector_for(install.tenant_id, install.connector_id)
        return found.display_name

    async def _host_of(self, install: connections.Install) -> str:
        """Where the person will be asked. Raises InstallUnsupported, GrantRefused."""
        declared = (await self._il.catalog.fetch_connector_for(install.tenant_id, install.connector_id)).auth
        profile = next((each for each in declared if each.profile_id == install.profile_id), None)
        if profile is not None:
            values = {**install.params, "base_url": install.base_url or profile.base_url}
            if (address := connections.exchange.page(profile.grant, values)) is not None:
                return urlsplit(address).netloc
        raise connections.InstallUnsupported(f"install {install.install_id} needs no browser")


async def _nothing_here(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise HTTPException(404)


def _link(request: Request) -> kernel.Secret:
    return kernel.Secret(str(request.path_params["link"]))


def _page(text: str, status: int = 200) -> HTMLResponse:
    return HTMLResponse(text, status, headers=_HEADERS)
