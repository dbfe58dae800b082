"""A sandbox's network with listed hosts: nothing but a loopback, and at it a proxy that is served from outside."""

import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final

from interlock import plane
from interlock.adapters.targets import descriptors

_PROGRAM: Final = str(Path(__file__).with_name("network_exec.py"))
_WAY: Final = descriptors.FIRST + 8
_PORT: Final = 1080
_HTTP: Final = f"http://127.0.0.1:{_PORT}"
_SOCKS: Final = f"socks5h://127.0.0.1:{_PORT}"
_VARIABLES: Final[Mapping[str, str]] = {
    name: value
    for word, value in (("http_proxy", _HTTP), ("https_proxy", _HTTP), ("all_proxy", _SOCKS))
    for name in (word, word.upper())
}


def variables(command: plane.Command, profile: plane.SandboxProfile) -> dict[str, str]:
    """The command's, and if it may reach listed hosts, those by which programs find the way there."""
    return dict(command.env) if profile.network is not plane.Network.HOSTS else {**_VARIABLES, **command.env}


def opened(stack: ExitStack, launch: plane.Launch) -> plane.Launch:
    """The same, in a network of its own, whose way out is handed to whoever launches it."""
    ours, theirs = socket.socketpair()
    stack.enter_context(ours)
    stack.enter_context(theirs)
    ours.setblocking(False)  # noqa: FBT003 - it takes no name
    words: Sequence[str] = (sys.executable, "-I", "-S", _PROGRAM, str(_WAY), str(_PORT))
    return replace(
        launch,
        argv=(*words, *launch.argv),
        fds={**launch.fds, _WAY: theirs.fileno()},
        way_out=ours.fileno(),
    )
