"""How long to wait before the next try."""

import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Exponential backoff with full jitter: a uniform choice between zero and the doubled, capped base. In seconds."""

    base: float = 0.2
    cap: float = 30.0

    def ceiling(self, failures: int) -> float:
        """The longest wait after that many failures (1 or more)."""
        # The exponent is bounded so that a poisoned counter cannot overflow.
        return min(self.cap, self.base * 2 ** min(max(failures, 1) - 1, 60))

    def delay(
        self, failures: int, *, at_least: float | None = None, uniform: Callable[[float, float], float] = random.uniform
    ) -> float:
        """The wait after that many failures; never shorter than `at_least` (a peer's Retry-After)."""
        return max(uniform(0.0, self.ceiling(failures)), at_least or 0.0)
