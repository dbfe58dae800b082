"""Providers of models as they are set up, for those who look at an installation."""

import difflib
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from interlock import sdk
from interlock.app.inference_settings import ProviderSettings
from interlock.kernel import JSON

if TYPE_CHECKING:
    from interlock import agents
    from interlock.app.settings import Settings

WELL_KNOWN: Final[Mapping[str, ProviderSettings]] = {
    "openai": ProviderSettings(kind="openai"),
    "anthropic": ProviderSettings(kind="anthropic"),
    "google": ProviderSettings(kind="google"),
}
"""Providers that are there without a setting: what they need is a key, where it is usually found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A provider of models as it is set up. `source` is where its key is to be, "" if it has none; `is_there`: whether it is, as
    far as can be seen without reading it."""

    name: str
    kind: str
    base_url: str
    source: str
    is_there: bool

    @property
    def standing(self) -> str:
        """In words."""
        return "" if self.is_there else "is not set"

    def to_json(self) -> dict[str, JSON]:
        """For programs."""
        return {
            "name": self.name,
            "kind": self.kind,
            "base_url": self.base_url,
            "api_key": self.source or None,
            "set": self.is_there,
        }


def list_model_providers(settings: "Settings") -> Sequence[Provider]:
    """The providers that models may be asked at. No key is read; of a variable it is seen whether it is set."""
    from interlock.adapters import models

    found: list[Provider] = []
    for name, told in {**WELL_KNOWN, **settings.inference.providers}.items():
        kind, _, place = (source := source_of(told)).partition(":")
        base_url = told.base_url or models.KINDS[told.kind].base_url
        is_there = kind != "env" or bool(os.environ.get(place))
        found.append(Provider(name=name, kind=told.kind, base_url=base_url or "", source=source, is_there=is_there))
    return found


def model_doubts(settings: "Settings", spec: "agents.Spec", *, brought: Collection[str]) -> "Sequence[sdk.Problem]":
    """What these settings cannot do for an agent's model, but for those of the providers that are `brought`. None of it makes the
    spec wrong: it may be for other settings, and a program may bring models of its own."""
    provider = spec.model.partition(":")[0]
    if provider in brought:
        return []
    known = {**WELL_KNOWN, **settings.inference.providers}
    told = known.get(provider)
    if told is None:
        near = difflib.get_close_matches(provider, known, n=1)
        hint = f"did you mean {near[0]!r}? Else set" if near else "set"
        return [
            sdk.Problem(
                path="model",
                problem=f"these settings know no provider of models {provider!r}",
                suggestion=f"{hint} it up: [inference.providers.{provider}]",
            )
        ]
    needs = (("tools", "operations", bool(spec.operations)), ("result", "result", spec.result is not None))
    return [
        sdk.Problem(path=path, problem=f"models of {provider!r} lack {what}, by these settings")
        for what, path, needed in needs
        if needed and what in told.lacks
    ]


def source_of(told: ProviderSettings) -> str:
    """Where the provider's key is; "" if it has none."""
    if told.api_key is not None:
        return told.api_key
    from interlock.adapters import models

    variable = models.KINDS[told.kind].key_variable
    return "" if variable is None else f"env:{variable}"
