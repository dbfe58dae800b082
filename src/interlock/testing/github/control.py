"""The control channel: the same few verbs for a service in this process and for one in another."""

import hmac
import inspect
import json
from collections.abc import Callable, Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import orjson
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from interlock import kernel
from interlock.testing.github.fake import Fake
from interlock.testing.github.traffic import Exchange

PREFIX = "/_control/"
_HEADER = "x-control-secret"
_VERBS = frozenset(
    {
        *("fault", "clear_faults", "effects", "requests", "wait_held", "release", "limit", "reset"),
        *("add_repository", "add_issues", "add_check_run", "add_release", "add_hook", "wait_delivered", "redeliver"),
    }
)


class Control:
    """Steers a running service. Every method blocks until the service has done it.

    All raise ValueError for what the service refuses, and OSError if it is not there, or stops before it has answered.
    """

    def __init__(self, url: str, secret: kernel.Secret) -> None:
        self.url = url
        self._secret = secret

    @classmethod
    def from_file(cls, path: str | Path) -> "Control":
        """For the service whose process wrote this state file."""
        state = json.loads(Path(path).read_bytes())
        return cls(state["url"], kernel.Secret(state["control_secret"]))

    def fault(
        self,
        kind: str,
        *,
        match: str = "*",
        times: int = 1,
        apply: bool | None = None,
        seconds: float = 1.0,
        retry_after: int | None = None,
    ) -> None:
        """Let the next `times` matching requests fail in the way of `kind` (see `faults.KINDS`)."""
        self._call("fault", kind=kind, match=match, times=times, apply=apply, seconds=seconds, retry_after=retry_after)

    def clear_faults(self) -> None:
        """Forget the faults that were not met yet."""
        self._call("clear_faults")

    def effects(self, match: str = "*") -> int:
        """How many matching requests changed something."""
        return self._call("effects", match=match)

    def requests(self, match: str = "*") -> list[Exchange]:
        """The matching requests, oldest first."""
        return [Exchange(**exchange) for exchange in self._call("requests", match=match)]

    def wait_held(self, count: int = 1, *, timeout: float = 60.0) -> list[Exchange]:
        """The requests that are held now, once they are so many. Raises TimeoutError after so many seconds."""
        return [Exchange(**exchange) for exchange in self._call("wait_held", count=count, timeout=timeout)]

    def release(self) -> int:
        """Let every held request go on; returns how many."""
        return self._call("release")

    def limit(self, *, remaining: int, reset_in: float = 60.0) -> None:
        """Set the primary rate limit of every token; `reset_in` is in seconds."""
        self._call("limit", remaining=remaining, reset_in=reset_in)

    def reset(self) -> None:
        """Return to the state after the start. Held requests are cut off."""
        self._call("reset")

    def add_repository(self, full_name: str, *, private: bool = False) -> None:
        """Add a repository with its first commit."""
        self._call("add_repository", full_name=full_name, private=private)

    def add_issues(self, full_name: str, count: int, *, title: str = "Issue") -> None:
        """Add open issues by the repository's owner, titled `Issue 1` and so on. They are no effects."""
        self._call("add_issues", full_name=full_name, count=count, title=title)

    def add_check_run(
        self, full_name: str, ref: str, name: str, *, status: str = "completed", conclusion: str | None = "success"
    ) -> None:
        """Add a check run to the commit that `ref` names."""
        self._call("add_check_run", full_name=full_name, ref=ref, name=name, status=status, conclusion=conclusion)

    def add_release(self, full_name: str, tag: str) -> None:
        """Publish a release."""
        self._call("add_release", full_name=full_name, tag=tag)

    def add_hook(self, full_name: str, url: str, *, secret: str | None, events: Sequence[str]) -> int:
        """Have a URL on this machine told of events (`*` means all), as JSON, signed with the secret; returns the hook's id.
        It is told of its own making (`ping`), too."""
        return self._call("add_hook", full_name=full_name, url=url, secret=secret, wanted=list(events))

    def wait_delivered(self, hook_id: int, count: int = 0, *, timeout: float = 60.0) -> list[dict[str, Any]]:
        """All deliveries of a hook as GitHub lists them, oldest first, with their `payload`, once something came of so many.
        Raises TimeoutError after so many seconds."""
        return self._call("wait_delivered", hook_id=hook_id, count=count, timeout=timeout)

    def redeliver(self, hook_id: int, delivery_id: int) -> None:
        """Deliver once more: the same bytes under the same id."""
        self._call("redeliver", hook_id=hook_id, delivery_id=delivery_id)

    def _call(self, verb: str, **arguments: Any) -> Any:
        connection = HTTPConnection(urlsplit(self.url).netloc, timeout=arguments.get("timeout", 0.0) + 30.0)
        try:
            connection.request(
                "POST", PREFIX + verb, body=orjson.dumps(arguments), headers={_HEADER: self._secret.reveal()}
            )
            response = connection.getresponse()
            answer = orjson.loads(response.read())
        except (HTTPException, orjson.JSONDecodeError) as error:
            raise ConnectionError(f"{self.url} stopped while it was asked to {verb}") from error
        finally:
            connection.close()
        if response.status == 408:
            raise TimeoutError(answer["message"])
        if response.status != 200:
            raise ValueError(answer["message"])
        return answer["value"]


class ControlEndpoint:
    """The other end, inside the service."""

    def __init__(self, fake: Fake, secret: kernel.Secret) -> None:
        self._fake = fake
        self._secret = secret

    async def handle(self, request: Request) -> Response:
        """Do what a verb says. A wrong secret and an unknown verb answer alike."""
        verb = request.path_params["verb"]
        given = request.headers.get(_HEADER, "")
        if not hmac.compare_digest(given.encode(), self._secret.reveal().encode()) or verb not in _VERBS:
            return JSONResponse({"message": "Not Found"}, status_code=404)
        method = cast("Callable[..., Any]", getattr(self._fake, verb))
        try:
            value = method(**orjson.loads(await request.body()))
            if inspect.isawaitable(value):
                value = await value
        except TimeoutError:
            return JSONResponse({"message": "too few requests are held"}, status_code=408)
        except (TypeError, ValueError) as error:
            return JSONResponse({"message": str(error)}, status_code=400)
        return JSONResponse({"value": value})
