"""A GitHub-shaped API on loopback, for tests and demos: real HTTP, real state, faults on demand.

Owns: the operations that the GitHub connector uses, judged by GitHub's own description, with authentication, ETags,
paging, rate limits and error shapes as GitHub has them; the control channel; the count of effects. Refuses: to be
reachable from elsewhere (it listens on 127.0.0.1 only), and to keep anything (state is in memory).
Invariants: what the description does not allow is refused, unknown parameters included; a write is counted as an effect
exactly when it changed something; no secret is in the log.
"""

from interlock.testing.github.control import Control
from interlock.testing.github.description import Description, Operation
from interlock.testing.github.fake import Token
from interlock.testing.github.faults import KINDS
from interlock.testing.github.server import GitHub
from interlock.testing.github.traffic import Exchange

__all__ = ["KINDS", "Control", "Description", "Exchange", "GitHub", "Operation", "Token"]
