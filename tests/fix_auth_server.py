"""An authorization server for a test of its own."""

from collections.abc import Iterator

import pytest

import auth_server as auth


@pytest.fixture
def auth_server() -> Iterator["auth.AuthServer"]:
    """One that knows its usual clients, and whose clock stands still."""
    with auth.serving() as running:
        yield running
