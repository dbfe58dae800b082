"""Providers: services that are described by how accounts are connected and requests are shaped, without operations."""

from functools import cached_property
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from interlock.kernel import JSON, InvalidJson, check_json, digest
from interlock.sdk.assemble import LIMITS, parsed
from interlock.sdk.auth import AuthProfile
from interlock.sdk.check import manifest_problems
from interlock.sdk.check_schema import header_problems, pointer_problems
from interlock.sdk.errors import InvalidProvider, Problem
from interlock.sdk.manifest import CONTRACT, Manifest
from interlock.sdk.paging import Paging
from interlock.sdk.proxying import METHODS, proxy_operation
from interlock.sdk.rules import ErrorRule
from interlock.sdk.terms import Part, Text

PROVIDER_CONTRACT: Final = "interlock.provider/v1"

ProviderId = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,53}$")]


class Provider(Part):
    """A service, as data: how its accounts are connected (`auth`), which headers its requests have besides (`headers`), what
    its refusals mean and how long they ask to wait (`errors`), and how its lists go on."""

    contract: Literal["interlock.provider/v1"]
    provider_id: ProviderId
    display_name: Text
    categories: tuple[Text, ...] = ()
    docs_url: Annotated[str, Field(pattern=r"^https://[^\s/]+(/\S*)?$", max_length=500)] | None = None
    auth: Annotated[tuple[AuthProfile, ...], Field(min_length=1, max_length=20)]
    headers: dict[str, Text] = Field(default={})
    errors: tuple[ErrorRule, ...] = ()
    paging: Paging | None = None

    def to_json(self) -> dict[str, JSON]:
        """The plain data, without what equals the contract's defaults (they are fixed for `v1`)."""
        return self.model_dump(mode="json", exclude_defaults=True)

    @cached_property
    def digest(self) -> str:
        """`sha256:…` over the canonical JSON."""
        return digest(self.to_json())


PROVIDER_PREFIX: Final = "provider_"
"""With which the connector's id of each provider begins, so that none is taken for a connector."""


def provider_manifest(provider: Provider) -> Manifest:
    """The provider as a connector."""
    return Manifest(
        contract=CONTRACT,
        connector_id=f"{PROVIDER_PREFIX}{provider.provider_id}",
        version="1.0.0",
        display_name=provider.display_name,
        description=f"{provider.display_name}, as its provider describes it.",
        docs_url=provider.docs_url,
        publication="private",
        auth=provider.auth,
        operations=tuple(
            proxy_operation(method, headers=provider.headers, errors=provider.errors) for method in sorted(METHODS)
        ),
    )


def read_provider(raw: object, *, source: str) -> Provider:
    """The provider of plain data. Raises InvalidProvider with every problem there is."""
    try:
        check_json(raw, limits=LIMITS, what="provider")
    except InvalidJson as error:
        raise InvalidProvider(source, [Problem(path="$", problem=error.message)]) from error
    problems: list[Problem] = []
    provider = parsed(Provider, raw, "", problems)
    if provider is not None:
        problems += _problems(provider)
    if provider is None or problems:
        raise InvalidProvider(source, problems)
    return provider


def _problems(provider: Provider) -> list[Problem]:
    found = list(manifest_problems(auth=provider.auth, operations=(), triggers=()))
    found += header_problems("headers", provider.headers)
    taken = {each.name.lower() for profile in provider.auth for each in profile.apply if each.place == "header"}
    for name in provider.headers:
        if name.lower() in taken:
            found.append(Problem(path=f"headers.{name}", problem="the header is the credential's"))
    paging: dict[str, Any] = {} if provider.paging is None else provider.paging.model_dump(exclude_none=True)
    for name in ("items", "link", "cursor"):
        found += pointer_problems(f"paging.{name}", paging.get(name, ""))
    return found
