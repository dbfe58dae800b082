"""One case of the memory contract, tried by itself: what runs in the child, where a provider may hang or die. It loads no more
than that: a child is started for each provider."""

import base64
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

import anyio

from interlock import memory
from interlock.kernel import Secret, is_interruption
from interlock.testing.memory.case import CASES, trying
from interlock.testing.memory.plugin import filled

Told: TypeAlias = dict[str, Any]

PASSED: Final = "passed"
FAILED: Final = "failed"
SKIPPED: Final = "skipped"

_FILE: Final = {"path": "{folder}/memory.db", "dimensions": 64}
_INNER: Final = {"name": "sqlite", "config": _FILE}

OURS: Final[Mapping[str, Mapping[str, Any]]] = {
    "sqlite": _FILE,
    "cached": {"inner": _INNER},
    "redacting": {"inner": _INNER},
    "encrypted": {"inner": {"name": "sqlite", "config": {"path": "{folder}/memory.db", "embedder": "none"}}},
    "tiered": {"short": _INNER, "long": {"name": "sqlite", "config": _FILE | {"path": "{folder}/long.db"}}},
    "fanout": {"parts": [_INNER, {"name": "sqlite", "config": _FILE | {"path": "{folder}/second.db"}}]},
    "langgraph": {"store": "interlock.testing.memory.stores:langgraph"},
    "mem0": {"memory": "interlock.testing.memory.stores:mem0"},
}
"""What ours are opened with, unless something else is said."""

_KEY: Final = Secret(base64.b64encode(bytes(range(32))).decode())
"""Of what is sealed for a trial."""


def ready() -> None:
    """Nothing: the child is up, and has this module."""


def describe(name: str, config: Mapping[str, Any], folder: str, seconds: float) -> Told:
    """Who the provider is, as it says once it is open; or by which error it cannot be had."""
    try:
        return anyio.run(_describe, _reference(name, config, folder, seconds))
    except memory.MemoryFault as error:
        return {"refused": error.code, "message": error.message, "installed": error.provider is not None}
    except BaseException as error:
        if is_interruption(error):
            raise
        return {"refused": "", "message": _words(error)}


def try_case(name: str, config: Mapping[str, Any], folder: str, seconds: float, number: int) -> tuple[str, str]:
    """The verdict on a case, and what was seen."""
    case = CASES[number]
    try:
        return anyio.run(partial(_try, _reference(name, config, folder, seconds), Path(folder), number))
    except BaseException as error:
        if is_interruption(error):
            raise
        said = str(error) if isinstance(error, AssertionError) else _words(error)
        return FAILED, " ".join(said.split())[:500] or f"{case.name} does not hold"


async def _describe(reference: memory.ProviderRef) -> Told:
    async with memory.Memory.open(reference, scope=memory.Scope(tenant="conformance")) as mem:
        return mem.info().to_json()


async def _try(reference: memory.ProviderRef, folder: Path, number: int) -> tuple[str, str]:
    case = CASES[number]
    async with trying(lambda _: reference, folder) as trial:
        if (missing := case.missing(trial.mem.capabilities())) is not None:
            return SKIPPED, f"not offered: {missing}"
        await case.act(trial)
    return PASSED, case.title


def _reference(name: str, config: Mapping[str, Any], folder: str, seconds: float) -> memory.ProviderRef:
    """The provider on storage of its own: `{folder}` and `{case}` in its configuration are another one for each case."""
    words = {"{folder}": folder, "{case}": f"{Path(folder).parent.name}_{Path(folder).name}".replace("-", "_").lower()}

    told = filled({**OURS.get(name, {}), **config}, words)
    if name == "encrypted" and told.keys().isdisjoint(("key", "key_file")):
        told["key"] = _KEY
    return memory.ProviderRef(name=name, config=told, options=memory.Options(timeout=seconds))


def _words(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):  # the first is as good as any
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    cause = error.__cause__ if isinstance(error, memory.ProviderFailed) else None
    return f"{type(error).__name__}: {error}" + (f" ({type(cause).__name__}: {cause})" if cause is not None else "")
