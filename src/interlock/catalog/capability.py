"""A capability: one operation of one connector version, ready to be asked for."""

from functools import cached_property

from interlock import sdk
from interlock.catalog.errors import InvalidInput, InvalidOutput
from interlock.catalog.validation import Validate, compiled
from interlock.kernel import JSON, digest


class Capability:
    """What a caller can ask for. The version and digest are pinned on every run of it."""

    def __init__(self, manifest: sdk.Manifest, operation: sdk.Operation) -> None:
        self.capability_id = f"{manifest.connector_id}.{operation.operation_id}"
        self.connector_id = manifest.connector_id
        self.connector_version = manifest.version
        self.manifest_digest = manifest.digest
        self.manifest = manifest
        self.operation = operation

    def __repr__(self) -> str:
        return f"Capability({self.capability_id!r}, {self.connector_version!r})"

    @property
    def is_proxy(self) -> bool:
        """Whether its callers make up the request."""
        return self.operation.http is not None and self.operation.http.proxied

    def validate_input(self, value: JSON) -> None:
        """Raises InvalidInput with every mismatch."""
        if mismatches := self._input(value):
            raise InvalidInput(self.capability_id, mismatches)

    def validate_output(self, value: JSON) -> None:
        """Raises InvalidOutput with every mismatch."""
        if mismatches := self._output(value):
            raise InvalidOutput(self.capability_id, mismatches)

    def to_json(self) -> dict[str, JSON]:
        """What people and programs are shown of it, schemas included."""
        operation = self.operation
        return {
            "capability_id": self.capability_id,
            "connector_id": self.connector_id,
            "connector_version": self.connector_version,
            "manifest_digest": self.manifest_digest,
            "display_name": operation.display_name,
            "description": operation.description,
            "effect": operation.effect.value,
            "runtime_class": operation.runtime_class.value,
            "idempotency": operation.idempotency.value,
            "scopes": list(operation.scopes),
            "surface": operation.surface.model_dump(mode="json", exclude_none=True),
            "input_schema": operation.input_schema,
            "output_schema": operation.output_schema,
        }

    @cached_property
    def contract_digest(self) -> str:
        """What must stay equal for a run of another connector version to go on: schemas, effect and scopes, and the program
        that is run again. What a request's operation has no part of is left out: the digests of waiting runs are stored."""
        operation = self.operation
        contract: dict[str, JSON] = {
            "effect": operation.effect.value,
            "input_schema": operation.input_schema,
            "output_schema": operation.output_schema,
            "scopes": sorted(operation.scopes),
        }
        if operation.script is not None:
            contract["script"] = {"source": operation.script.source, "actions": {**operation.script.actions}}
        if operation.command is not None:
            contract["command"] = {"argv": operation.command.argv}
        return digest(contract)

    # Compiling a schema costs more than a call, so it happens once, when it is first needed.
    @cached_property
    def _input(self) -> Validate:
        return compiled(self.operation.input_schema)

    @cached_property
    def _output(self) -> Validate:
        return compiled(self.operation.output_schema)
