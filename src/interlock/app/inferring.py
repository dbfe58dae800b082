"""The models of an installation: those that the settings name, and those that a program brings along."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from interlock import connections, inference
from interlock.app.settings import Settings
from interlock.kernel import no_such

Given: TypeAlias = Mapping[str, Callable[[str], inference.Model]]
"""By the name of a provider, who makes its model of a name: for tests, and for models in the program's own hands."""

Ways: TypeAlias = Mapping[connections.SourceKind, connections.SecretSource]


class Providers:
    """`inference.Models` as the settings have them. A provider's library is loaded when one of its models is asked."""

    def __init__(self, settings: Settings, given: Given, ways: Ways) -> None:
        """`ways` has who reads the secrets of which kind of place."""
        self._settings = settings
        self._ways = ways
        self._given = given
        self._made: dict[str, inference.Endpoint] = {}

    def fetch(self, ref: str) -> inference.Endpoint:
        """As the port says."""
        if (made := self._made.get(ref)) is None:
            made = self._made[ref] = self._make(ref)
        return made

    def fallbacks(self, ref: str) -> Sequence[str]:
        """As the port says."""
        return ()

    @property
    def providers(self) -> Sequence[str]:
        """As the port says."""
        return sorted(self._given)

    def _make(self, ref: str) -> inference.Endpoint:
        provider, _, name = ref.partition(":")
        if provider in self._given and name:
            return inference.Endpoint(provider=provider, name=name, model=self._given[provider](name))
        known = no_such("provider of models", provider, self.providers)
        raise inference.UnknownModel(f"{ref[:200]!r} cannot be asked: {known}")
