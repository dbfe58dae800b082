"""The programs for the far side, each as one text: our modules in it, and the standard library beneath."""

from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Final

from interlock.adapters.lanes.places import frames, guest_agent, handshake, outpost
from interlock.adapters.lanes.process import groups, keeper

_HEAD: Final = '''"""{title} Made of Interlock {version}; standard library alone."""
import sys
import types

if sys.version_info < (3, 10):
    sys.exit("interlock: Python 3.10 or newer is needed here; this is " + sys.version.split()[0])


def _load(name, source):
    module = sys.modules[name] = types.ModuleType(name)
    exec(compile(source, name, "exec"), module.__dict__)
    return module


'''


@cache
def outpost_program() -> str:
    """It serves one node over its stdin and stdout."""
    return _program("The outpost of a node, which runs one command.", keeper, groups, frames, outpost)


@cache
def agent_program() -> str:
    """The guest agent. It takes the arguments of `guest_agent.main`."""
    return _program(
        "The guest agent, which runs commands for nodes.", keeper, groups, frames, outpost, handshake, guest_agent
    )


def _program(title: str, *modules: ModuleType) -> str:
    from interlock.kernel import VERSION

    loads = [f"_last = _load({module.__name__!r}, {_source(module)!r})\n" for module in modules]
    return "".join([_HEAD.format(title=title, version=VERSION), *loads, "_last.main()\n"])


def _source(module: ModuleType) -> str:
    assert module.__file__ is not None
    return Path(module.__file__).read_text()
