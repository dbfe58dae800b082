"""The models of an installation: those of its settings, the well-known ones, and those that a program brings along."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

from interlock import connections, inference
from interlock.adapters import models
from interlock.app.inference_settings import InferenceSettings, ProviderSettings
from interlock.app.model_providers import WELL_KNOWN, source_of
from interlock.kernel import Secret, no_such

Given: TypeAlias = Mapping[str, Callable[[str], inference.Model]]
"""By the name of a provider, who makes its model of a name: for tests, and for models in the program's own hands."""

Ways: TypeAlias = Mapping[connections.SourceKind, connections.SecretSource]

MOST_MADE: Final = 200
"""Models that are kept ready."""

_FIELD: Final = "api_key"


class Providers:
    """`inference.Models` as the settings have them. A provider's library is loaded when one of its models is asked."""

    def __init__(self, settings: InferenceSettings, given: Given, ways: Ways) -> None:
        """`ways` has who reads the secrets of which kind of place; it may be filled after this is made."""
        self._fallbacks, self._tries = settings.fallbacks, settings.tries
        self._set_up = {**WELL_KNOWN, **settings.providers}
        self._given = given
        self._ways = ways
        self._made: dict[str, inference.Endpoint] = {}

    def fetch(self, ref: str) -> inference.Endpoint:
        """As the port says."""
        if (made := self._made.get(ref)) is None:
            made = self._make(ref)
            if len(self._made) >= MOST_MADE:  # names are callers' words
                self._made.clear()
            self._made[ref] = made
        return made

    def fallbacks(self, ref: str) -> Sequence[str]:
        """As the port says."""
        return self._fallbacks.get(ref, ())

    @property
    def providers(self) -> Sequence[str]:
        """As the port says."""
        return sorted({*self._given, *self._set_up})

    @property
    def tries(self) -> int:
        """As the port says."""
        return self._tries

    def _make(self, ref: str) -> inference.Endpoint:
        provider, _, name = ref.partition(":")
        if name and provider in self._given:
            return inference.Endpoint(provider=provider, name=name, model=self._given[provider](name))
        if name and provider in self._set_up:
            return self._set(provider, name, self._set_up[provider])
        known = no_such("provider of models", provider, self.providers)
        raise inference.UnknownModel(f"{ref[:200]!r} cannot be asked: {known}")

    def _set(self, provider: str, name: str, told: ProviderSettings) -> inference.Endpoint:
        kind = models.KINDS[told.kind]
        base_url, source = told.base_url or kind.base_url, source_of(told)
        assert base_url is not None
        return inference.Endpoint(
            provider=provider,
            name=name,
            model=models.ProviderModel(told.kind, name, provider=provider, base_url=base_url),
            kind=told.kind,
            base_url=base_url,
            show=kind.show if source else (),
            secrets=_Key(self._ways, provider, source),
            lacks=frozenset(map(inference.Feature, told.lacks)),
            options=frozenset(told.options),
            price=_price(told, name),
            ceiling=told.ceiling_usd,
            most_output=told.max_output_tokens,
        )


def _price(told: ProviderSettings, name: str) -> inference.Price:
    if told.input_usd is not None and told.output_usd is not None:
        return models.declared(told.input_usd, told.output_usd)
    listed = models.KINDS[told.kind].price_as
    return inference.unpriced if listed is None else models.listed(listed, name)


class _Key:
    """Reads a provider's key, each time anew: it may have been replaced."""

    def __init__(self, ways: Ways, provider: str, source: str) -> None:
        self._ways = ways
        self._provider = provider
        self._source = source

    async def __call__(self, tenant_id: str) -> Mapping[str, Secret]:
        """Raises SecretUnavailable, SecretExposed."""
        if not self._source:
            return {}
        _, kind, place = connections.sources.parse(self._source)
        try:
            return {_FIELD: await self._ways[kind].fetch(place, tenant_id=tenant_id)}
        except connections.SecretUnavailable as error:
            error.next_step = (
                f"Put the key there, or say where it is: `api_key` under [inference.providers.{self._provider}]."
            )
            raise
