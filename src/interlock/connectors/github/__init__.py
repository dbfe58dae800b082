"""GitHub over its REST API: repositories, issues, comments, pull requests, reviews, code, commits, and their checks;
and what GitHub reports.

Owns: the declaration of its operations, one module per resource, how each write is settled by reading, and its triggers.
Refuses: sending anything; it is data and generators. Invariants: an operation's requests keep to GitHub's own
description, its output is made of documented answers, and every write says how to find out whether it happened.
"""

from interlock.connectors.github.manifest import connector

__all__ = ["connector"]
