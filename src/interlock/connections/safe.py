"""Sealing and opening: the room's only use of the cipher. It waits, so it stands before a transaction and never inside one."""

from collections.abc import Mapping
from datetime import datetime

from interlock.connections import errors, sealing
from interlock.connections.model import Connection, Credential, Sealed
from interlock.connections.ports import Cipher
from interlock.kernel import JSON, Secret


class Safe:
    """Makes credential versions of secrets, and gives the secrets back."""

    def __init__(self, cipher: Cipher) -> None:
        self._cipher = cipher

    async def seal(
        self,
        connection: Connection,
        secrets: Mapping[str, Secret],
        *,
        version: int,
        expires_at: datetime | None,
        at: datetime,
        grant: Mapping[str, JSON] | None = None,
    ) -> Credential:
        """The version that the connection names as its current one."""
        assert connection.current_credential_id is not None
        fields = tuple(sorted(secrets))
        aad = sealing.binding(
            tenant_id=connection.tenant_id,
            connection_id=connection.connection_id,
            credential_id=connection.current_credential_id,
            version=version,
            fields=fields,
        )
        sealed = await self._cipher.seal(connection.tenant_id, sealing.pack(secrets), aad=aad)
        return Credential(
            credential_id=connection.current_credential_id,
            connection_id=connection.connection_id,
            tenant_id=connection.tenant_id,
            version=version,
            key_id=sealed.key_id,
            nonce=sealed.nonce,
            ciphertext=sealed.ciphertext,
            fields=fields,
            expires_at=expires_at,
            revoked_at=None,
            created_at=at,
            grant=grant,
        )

    async def open(self, credential: Credential) -> dict[str, Secret]:
        """The secrets of a version. Raises LeaseRevoked for one that was erased, CredentialDamaged."""
        if credential.nonce is None or credential.ciphertext is None:
            raise errors.LeaseRevoked(f"credential {credential.credential_id} was erased")
        sealed = Sealed(key_id=credential.key_id, nonce=credential.nonce, ciphertext=credential.ciphertext)
        plaintext = await self._cipher.open(credential.tenant_id, sealed, aad=sealing.binding_of(credential))
        return sealing.unpack(plaintext, credential.fields)
