"""How secrets become a sealed credential version and come back."""

from collections.abc import Mapping
from typing import cast

import orjson

from interlock.connections.errors import CredentialDamaged
from interlock.connections.model import Credential
from interlock.kernel import Secret, canonical


def binding(*, tenant_id: str, connection_id: str, credential_id: str, version: int, fields: tuple[str, ...]) -> bytes:
    """The associated data that ties a ciphertext to its row: it opens nowhere else."""
    return canonical(
        {
            "contract": "interlock.credential/v1",
            "tenant_id": tenant_id,
            "connection_id": connection_id,
            "credential_id": credential_id,
            "version": version,
            "fields": list(fields),
        }
    )


def binding_of(credential: Credential) -> bytes:
    """The associated data of a stored version."""
    return binding(
        tenant_id=credential.tenant_id,
        connection_id=credential.connection_id,
        credential_id=credential.credential_id,
        version=credential.version,
        fields=credential.fields,
    )


def pack(secrets: Mapping[str, Secret]) -> bytes:
    """The plaintext of a version. It goes nowhere but into the cipher."""
    return canonical({name: secret.reveal() for name, secret in secrets.items()})


def unpack(plaintext: bytes, fields: tuple[str, ...]) -> dict[str, Secret]:
    """The inverse of `pack`. Raises CredentialDamaged, from nothing, so that no traceback holds the plaintext."""
    found = unpack_all(plaintext)
    secrets = {name: found[name] for name in fields if name in found}
    if len(secrets) != len(fields):
        raise CredentialDamaged("a sealed credential does not hold the fields that its row names")
    return secrets


def unpack_all(plaintext: bytes) -> dict[str, Secret]:
    """What was packed, whatever its names: nothing from what is no such thing."""
    try:
        values = cast("dict[str, object]", orjson.loads(plaintext))
    except orjson.JSONDecodeError:
        values = {}
    return {name: Secret(value) for name, value in values.items() if isinstance(value, str)}
