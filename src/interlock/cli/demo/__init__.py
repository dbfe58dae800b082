"""`interlock demo`: one governed call after the other, end to end, told as a story. Nothing in it is simulated but GitHub,
and every sentence that it prints is checked before it is printed."""

from interlock.cli.demo.command import register
from interlock.cli.demo.telling import serve, tell

__all__ = ["register", "serve", "tell"]
