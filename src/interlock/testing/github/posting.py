"""Delivering webhooks: each once, over real HTTP, within GitHub's ten seconds. Nothing is tried again unless somebody asks."""

from collections import deque
from typing import Final
from urllib.parse import urlsplit

import anyio

from interlock.testing.github.hooks import Delivery, Hook

_SECONDS: Final = 10.0
_AT_ONCE: Final = 16
_ANSWER: Final = 65_536
_LOST: Final = (OSError, anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, ValueError)


class Post:
    """What is on its way to hooks. Lives on the service's event loop."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Hook, Delivery]] = deque()
        self._news = anyio.Event()

    def put(self, hook: Hook, delivery: Delivery) -> None:
        """Send it as soon as there is time; it stands among the hook's deliveries from now on."""
        hook.deliveries.append(delivery)
        self._waiting.append((hook, delivery))
        self._tell()

    async def run(self) -> None:
        """Deliver what is put here, until cancelled."""
        places = anyio.Semaphore(_AT_ONCE)
        async with anyio.create_task_group() as group:
            while True:
                news = self._news
                while self._waiting:
                    await places.acquire()
                    group.start_soon(self._deliver, *self._waiting.popleft(), places)
                await news.wait()

    async def wait(self, hook: Hook, count: int) -> list[Delivery]:
        """The hook's deliveries, oldest first, once something came of so many."""
        while sum(each.status_code > 0 for each in hook.deliveries) < count:
            await self._news.wait()
        return list(hook.deliveries)

    async def _deliver(self, hook: Hook, delivery: Delivery, places: anyio.Semaphore) -> None:
        began = anyio.current_time()
        try:
            with anyio.fail_after(_SECONDS):
                code = await _post(hook, delivery)
            told = "OK" if 200 <= code < 300 else f"Invalid HTTP Response: {code}"
        except TimeoutError:
            code, told = 504, "timed out"
        except _LOST:
            code, told = 502, "failed to connect to host"
        delivery.seconds = round(anyio.current_time() - began, 3)
        delivery.status, delivery.status_code = told, code
        places.release()
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = anyio.Event()


async def _post(hook: Hook, delivery: Delivery) -> int:
    """The status of the answer. Raises one of `_LOST` if there was none."""
    address = urlsplit(hook.url)
    headers, body = hook.request(delivery)
    target = (address.path or "/") + (f"?{address.query}" if address.query else "")
    lines = [f"POST {target} HTTP/1.1", f"Host: {address.netloc}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in {**headers, "Content-Length": str(len(body))}.items()]
    async with await anyio.connect_tcp(address.hostname or "", address.port or 80) as stream:
        await stream.send("\r\n".join([*lines, "", ""]).encode() + body)
        answer = await stream.receive()
        try:
            while len(answer) < _ANSWER:  # to its end, so that nobody is cut off
                answer += await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            pass
    version, code = answer.split(b" ", 2)[:2]
    if not version.startswith(b"HTTP/1."):
        raise ValueError("this is no HTTP")
    return int(code)
