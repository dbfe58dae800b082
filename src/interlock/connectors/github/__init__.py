"""GitHub over its REST API: repositories, issues, comments, pull requests, reviews, code, commits, and their checks.

Owns: the declaration of its 24 operations, one module per resource, and how each write is settled by reading.
Refuses: sending anything; it is data and generators. Invariants: an operation's requests keep to GitHub's own
description, its output is made of documented answers, and every write says how to find out whether it happened.
"""

from interlock.connectors.github.manifest import connector

__all__ = ["connector"]
