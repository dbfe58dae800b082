"""The plane's contracts as JSON Schema, for those who speak to it from elsewhere."""

from interlock.kernel import JSON
from interlock.plane.authority import AuthorityDecision
from interlock.plane.contract import Contract
from interlock.plane.intent import HttpIntent
from interlock.plane.receipt import Receipt
from interlock.plane.targets import Attestation, TargetDescriptor

CONTRACTS: tuple[type[Contract], ...] = (AuthorityDecision, Attestation, HttpIntent, Receipt, TargetDescriptor)
"""Every versioned contract."""


def json_schemas() -> dict[str, JSON]:
    """Contract version (`interlock.receipt/v1`) to JSON Schema 2020-12 of its recorded form."""
    return {
        contract.model_fields["contract"].default: {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            **contract.model_json_schema(mode="serialization"),
        }
        for contract in CONTRACTS
    }
