"""What passed through the service: the log of exchanges, and each token's rate limit."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from interlock import kernel
from interlock.testing.github.faults import matches

_LOGGED = 100_000
_WINDOW = 3600
_SECRET_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization"})


@dataclass(slots=True, kw_only=True)
class Exchange:
    """One request as the service saw it. `status` is None while nothing was answered; `effect` says that something was
    changed; `fault` is the kind that was injected. Secrets and bodies are not kept."""

    sequence: int
    method: str
    path: str
    query: str
    operation_id: str
    headers: dict[str, str]
    body_size: int
    login: str | None = None
    status: int | None = None
    effect: bool = False
    fault: str | None = None

    @property
    def line(self) -> str:
        """Method and path, as `match` sees them."""
        return f"{self.method} {self.path}"


@dataclass(slots=True)
class Log:
    """The latest exchanges, and every effect since the start."""

    exchanges: list[Exchange] = field(default_factory=list[Exchange])
    _effects: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    _count: int = 0

    def open(
        self, *, method: str, path: str, query: str, operation_id: str, headers: Mapping[str, str], body_size: int
    ) -> Exchange:
        """Note a request on its arrival."""
        self._count += 1
        exchange = Exchange(
            sequence=self._count,
            method=method,
            path=path,
            query=query,
            operation_id=operation_id,
            headers={name: "***" if name in _SECRET_HEADERS else value for name, value in headers.items()},
            body_size=body_size,
        )
        self.exchanges.append(exchange)
        if len(self.exchanges) > _LOGGED:
            del self.exchanges[: _LOGGED // 2]
        return exchange

    def note_effect(self, exchange: Exchange) -> None:
        """Something was changed."""
        exchange.effect = True
        key = (exchange.operation_id, exchange.line)
        self._effects[key] = self._effects.get(key, 0) + 1

    def effects(self, match: str) -> int:
        """How often something was changed by requests that match."""
        return sum(
            count
            for (operation_id, line), count in self._effects.items()
            if matches(match, operation_id=operation_id, line=line)
        )

    def requests(self, match: str) -> list[Exchange]:
        """The exchanges that match, oldest first."""
        return [
            exchange
            for exchange in self.exchanges
            if matches(match, operation_id=exchange.operation_id, line=exchange.line)
        ]


class Limits:
    """The primary rate limit: so many requests per login and hour, from the first one on."""

    def __init__(self, limit: int, clock: kernel.Clock) -> None:
        self._limit = limit
        self._clock = clock
        self._windows: dict[str, tuple[int, float]] = {}

    def remaining(self, login: str) -> int:
        """How many requests are left in the window."""
        return max(self._limit - self._window(login)[0], 0)

    def spend(self, login: str) -> None:
        """Count one request."""
        used, resets_at = self._window(login)
        self._windows[login] = (used + 1, resets_at)

    def set(self, login: str, *, remaining: int, reset_in: float) -> None:
        """Put a login somewhere in its window."""
        self._windows[login] = (self._limit - remaining, self._now() + reset_in)

    def headers(self, login: str) -> dict[str, str]:
        """How GitHub tells it."""
        used, resets_at = self._window(login)
        return {
            "x-ratelimit-limit": str(self._limit),
            "x-ratelimit-remaining": str(self.remaining(login)),
            "x-ratelimit-used": str(used),
            "x-ratelimit-reset": str(int(resets_at)),
            "x-ratelimit-resource": "core",
        }

    def _window(self, login: str) -> tuple[int, float]:
        used, resets_at = self._windows.get(login, (0, 0.0))
        if resets_at <= self._now():
            used, resets_at = self._windows[login] = (0, self._now() + _WINDOW)
        return used, resets_at

    def _now(self) -> float:
        return self._clock.now().timestamp()
