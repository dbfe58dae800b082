"""What goes wrong when capabilities are looked up and called.

NotFoundError
├── UnknownCapability    unknown_capability
├── UnknownConnector     unknown_connector
└── UnknownProvider      unknown_provider
RequestError
├── InvalidInput         invalid_input
└── ConflictError
    ├── ProviderChanged  provider_changed
    └── ProviderInUse    provider_in_use
ProviderError
└── InvalidOutput        invalid_output
ConfigurationError
├── ConnectorBroken      connector_broken
└── DuplicateConnector   duplicate_connector
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from interlock import sdk
from interlock.kernel import (
    JSON,
    ConfigurationError,
    ConflictError,
    Fault,
    NotFoundError,
    ProviderError,
    RequestError,
    Retry,
)

_PROVIDER_STEP: Final = "It names a provider: `interlock providers show {0}` shows it, `interlock proxy` asks it."


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """One place where a value is not what its schema expects, in words: `path` is `$.labels[0]`; `got` is a number as it
    is, a text's length, a list's or an object's size, and None where nothing may stand."""

    path: str
    expected: str
    got: str | None
    suggestion: str | None = None

    def __str__(self) -> str:
        got = "" if self.got is None else f", got {self.got}"
        hint = "" if self.suggestion is None else f" ({self.suggestion})"
        return f"{self.path.removeprefix('$.')}: {self.expected}{got}{hint}"

    def to_json(self) -> dict[str, JSON]:
        return {"path": self.path, "expected": self.expected, "got": self.got, "suggestion": self.suggestion}


class UnknownCapability(NotFoundError):
    """No connector offers this capability; `details.nearest` has names like it."""

    code = "unknown_capability"
    next_step = "Look at `interlock capabilities list`."

    def __init__(self, capability_id: str, nearest: Sequence[str]) -> None:
        shown = capability_id[:100]
        hint = f"; did you mean {' or '.join(nearest)}?" if nearest else ""
        super().__init__(
            f"there is no capability {shown!r}{hint}", details={"capability": shown, "nearest": list(nearest)}
        )


class UnknownConnector(NotFoundError):
    """No such connector is installed; `details.known` has those that are."""

    code = "unknown_connector"
    next_step = "`interlock connectors list` shows what is installed."

    def __init__(self, connector_id: str, known: Sequence[str]) -> None:
        shown = connector_id[:60]
        provider = shown.removeprefix(sdk.PROVIDER_PREFIX)
        near = difflib.get_close_matches(shown, known, n=1, cutoff=0.75)  # gitlab is no misspelt github
        hint = f"did you mean {near[0]!r}? " if near else ""
        super().__init__(
            f"there is no connector {shown!r}; {hint}installed: {', '.join(known)}",
            next_step=_PROVIDER_STEP.format(provider) if provider != shown else None,
            details={"connector": shown, "known": list(known)},
        )


class UnknownProvider(NotFoundError):
    """No such provider was imported; `details.nearest` has names like it."""

    code = "unknown_provider"
    next_step = "`interlock providers list` shows what was imported; `interlock providers import FILE` imports more."

    def __init__(self, provider_id: str, nearest: Sequence[str]) -> None:
        shown = provider_id[:100]
        hint = f"; did you mean {' or '.join(nearest)}?" if nearest else ""
        super().__init__(f"there is no provider {shown!r}{hint}", details={"provider": shown, "nearest": list(nearest)})


class ProviderInUse(ConflictError):
    """Connections hold credentials under a provider that was to be taken away, or to say anew where and how they are sent."""

    code = "provider_in_use"
    next_step = (
        "Look at what `details.changes` says; `--replace NAME` takes the new entry over for its connections, too."
    )


class ProviderChanged(ConflictError):
    """A provider was imported anew, or removed, while an account was connected by what it had said. Nothing was kept."""

    code = "provider_changed"
    retry = Retry.LATER
    next_step = "Look at it with `interlock providers show NAME`, and connect again."

    def __init__(self, connector_id: str) -> None:
        name = connector_id.removeprefix(sdk.PROVIDER_PREFIX)
        super().__init__(
            f"the provider {name} says something else by now than what was asked for",
            next_step=type(self).next_step.replace("NAME", name),
        )


class InvalidInput(RequestError):
    """The input is not what the capability's schema expects. All mismatches are listed."""

    code = "invalid_input"

    def __init__(self, capability_id: str, mismatches: Sequence[Mismatch]) -> None:
        self.mismatches = tuple(mismatches)
        super().__init__(
            f"the input of {capability_id} is wrong: {_joined(mismatches)}",
            next_step=f"Correct the input; `interlock capabilities show {capability_id}` has its schema.",
            details={"capability": capability_id, "mismatches": [each.to_json() for each in mismatches]},
        )


class InvalidOutput(ProviderError):
    """The service's answer lacks what the capability promises. The effect may well have happened."""

    code = "invalid_output"
    retry = Retry.NEVER
    fault = Fault.PROVIDER
    next_step = "Compare the answer in the run's artifacts with the connector's declaration; it may need an update."

    def __init__(self, capability_id: str, mismatches: Sequence[Mismatch]) -> None:
        self.mismatches = tuple(mismatches)
        super().__init__(
            f"the output of {capability_id} is wrong: {_joined(mismatches)}",
            details={"capability": capability_id, "mismatches": [each.to_json() for each in mismatches]},
        )


class ConnectorBroken(ConfigurationError):
    """The connector is there, and gave no connector when it was loaded; the message says why."""

    code = "connector_broken"
    next_step = "Mend, update or take away what the message names; `interlock doctor` looks again."


class DuplicateConnector(ConfigurationError):
    """Two connectors have the same id, so their capabilities could not be told apart."""

    code = "duplicate_connector"
    next_step = "Uninstall one of the two, or take the manifest file out of the settings."


def _joined(mismatches: Sequence[Mismatch]) -> str:
    shown = "; ".join(str(each) for each in mismatches[:10])
    return shown + (f"; and {len(mismatches) - 10} more" if len(mismatches) > 10 else "")
