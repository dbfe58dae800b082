"""The harness: the shell round the machine of `turns`, which writes down what is to be done, does it, and writes down what came
of it, so that any process can go on."""

from interlock.agents.harness.journal import (
    Line,
    Past,
    Sheet,
    read,
    replay,
    state_digest,
)

__all__ = [
    "Line",
    "Past",
    "Sheet",
    "read",
    "replay",
    "state_digest",
]
