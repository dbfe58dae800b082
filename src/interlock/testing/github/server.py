"""The service on a loopback port: in a thread of this process, or as a process of its own (`__main__`)."""

import secrets
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from interlock import kernel
from interlock.testing.github.control import PREFIX, Control, ControlEndpoint
from interlock.testing.github.fake import Fake, Setup, Token
from interlock.testing.github.passage import Passage

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]


def new_secret() -> kernel.Secret:
    """A control secret."""
    return kernel.Secret(secrets.token_urlsafe(24))


def listen(port: int = 0) -> tuple[socket.socket, str]:
    """A listening loopback socket and its URL. Port 0 takes a free one."""
    # The protocol is named because asyncio sets TCP_NODELAY only then; without it each answer takes 40 ms more.
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))
        sock.listen(512)
    except OSError:
        sock.close()
        raise
    return sock, f"http://127.0.0.1:{sock.getsockname()[1]}"


class Server(uvicorn.Server):
    """uvicorn with the service in it. `on_ready` is called once requests are answered."""

    def __init__(self, setup: Setup, *, url: str, secret: kernel.Secret, on_ready: Callable[[], None]) -> None:
        self._fake = Fake(setup, url=url)
        self._on_ready = on_ready
        app = Starlette(
            routes=[
                Route(PREFIX + "{verb}", ControlEndpoint(self._fake, secret).handle, methods=["POST"]),
                Route("/{path:path}", self._handle, methods=_METHODS),
            ]
        )
        super().__init__(
            uvicorn.Config(
                app,
                http=self._fake.wires.protocol(),
                loop="asyncio",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=False,
                timeout_keep_alive=60,
                timeout_graceful_shutdown=5,
            )
        )

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(self._fake.post.run)
            await super().serve(sockets)
            group.cancel_scope.cancel()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._fake.drop_holds()  # else uvicorn would wait for them
        await super().shutdown(sockets)

    async def _handle(self, request: Request) -> Response:
        return await Passage(self._fake, request, await request.body()).answer()


class GitHub(Control):
    """A GitHub-shaped API on loopback, in a thread of its own; also its own `Control`. Stop it, or use it in `with`."""

    def __init__(self, setup: Setup) -> None:
        secret = new_secret()
        self._socket, url = listen()
        super().__init__(url, secret)
        ready = threading.Event()
        self._server = Server(setup, url=url, secret=secret, on_ready=ready.set)
        self._thread = threading.Thread(target=self._run, name="github-fake", daemon=True)
        self._thread.start()
        if not ready.wait(timeout=30):
            raise TimeoutError("the GitHub-shaped service did not start within 30 s")

    @classmethod
    def start(
        cls,
        *,
        tokens: Mapping[str, str | Token],
        repos: Sequence[str] = ("acme/rocket",),
        clock: kernel.Clock | None = None,
        rate_limit: int = 5000,
        check_answers: bool = False,
    ) -> Self:
        """Start and return when it answers. A token is given its login, or a `Token`. With `check_answers` an answer
        that GitHub's description does not allow becomes a 500 that says so."""
        return cls(
            Setup(
                tokens={
                    secret: token if isinstance(token, Token) else Token(token) for secret, token in tokens.items()
                },
                repos=repos,
                clock=clock or kernel.SystemClock(),
                rate_limit=rate_limit,
                check_answers=check_answers,
            )
        )

    def stop(self) -> None:
        """Cut what is held, finish what is running, close the port. May be called again."""
        self._server.should_exit = True
        self._thread.join(timeout=30)
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        anyio.run(self._server.serve, [self._socket])
