"""The plane's contracts as JSON Schema, for those who speak to it from elsewhere."""

from collections.abc import Iterator

from interlock.kernel import JSON
from interlock.plane.contract import Contract


def json_schemas() -> dict[str, JSON]:
    """Contract version (`interlock.receipt/v1`) to JSON Schema 2020-12 of its recorded form; of every versioned contract
    that this process has loaded."""
    return {
        name: {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            **contract.model_json_schema(mode="serialization"),
        }
        for name, contract in _known()
    }


def contract_versions() -> tuple[str, ...]:
    """The names of `json_schemas`."""
    return tuple(name for name, _ in _known())


def _known() -> Iterator[tuple[str, type[Contract]]]:
    for contract in sorted(_versioned(Contract), key=lambda contract: contract.__name__):
        yield contract.model_fields["contract"].default, contract


def _versioned(kind: type[Contract]) -> Iterator[type[Contract]]:
    for derived in kind.__subclasses__():
        if derived.__module__.startswith("interlock.") and "contract" in derived.model_fields:
            yield derived
        yield from _versioned(derived)
