"""What a placed lane needs of a placement."""

from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol

from interlock import plane
from interlock.adapters.lanes.places.link import Link

RUN: Final = "run"
TERMINAL: Final = "terminal"
SECRETS: Final = "secrets"
LIMITS: Final = "limits"
CAPABILITIES: Final = frozenset({RUN, TERMINAL, SECRETS, LIMITS})
"""What a command may need of a far side."""

SILENCE: Final = 30.0
"""Seconds without a sign of the other side after which both give up."""

CONNECT: Final = 20.0
"""Seconds within which a far side has to be reached, proved, and ready."""


class Place(Protocol):
    """Somewhere else, where commands can be run."""

    @property
    def target_class(self) -> str:
        """What is proved of it whenever it is reached."""
        ...

    @property
    def url(self) -> str:
        """Where it is, as people write it, without any secret."""
        ...

    @property
    def private(self) -> bool:
        """Whether nobody on the way can read what goes there."""
        ...

    def reach(self, exchange: plane.Exchange, needs: frozenset[str]) -> AbstractAsyncContextManager[Link]:
        """A far side that is proved to be the right one, is ready for an order, and grants what is needed. Notes in the
        exchange whom it found. Raises LaneFailure; until then nothing has happened there."""
        ...
