"""Where the root key lies, as the settings say."""

import os
import ssl
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from interlock.app import provided
from interlock.app.settings import KeySettings, Settings, is_memory

if TYPE_CHECKING:
    from interlock.adapters import keys


def load_root(settings: Settings, *, create: bool) -> "keys.RootCipher":
    """The root key; one made on the spot for a store in memory. Raises InvalidStoreUrl, KeyMissing, KeyInvalid, KeyExposed,
    FileUnreadable. One that lies with a service is not asked for yet."""
    from interlock.adapters import keys, sql

    if is_memory(settings.store):
        return keys.fleeting_root()
    sql.parse_address(settings.store_url)  # of a wrong address and a missing key, the address is what to mend first
    if settings.keys.root == "vault-transit":
        return _vault(settings)
    if settings.keys.root == "aws-kms":
        return _aws(settings.keys)
    shared = settings.store_url.startswith(("postgresql://", "postgres://"))
    try:
        return keys.load_root(environ=os.environ, create=create and not shared, allow_generated=not shared)
    except keys.KeyMissing as error:
        if shared:
            error.next_step = f"Set INTERLOCK_KEY, the same for every process, to the output of: {keys.MAKE}"
        elif provided.has_store(settings):
            error.next_step = keys.PUT_BACK
        raise


def load_former(settings: Settings) -> "Sequence[keys.RootCipher]":
    """The root keys from which a store may go over to that one: what else is named. Raises as `load_root`."""
    from interlock.adapters import keys

    named = settings.keys
    found: list[keys.RootCipher] = []
    if (previous := keys.load_previous(os.environ)) is not None:
        found.append(previous)
    if named.vault_key is not None and named.root != "vault-transit":
        found.append(_vault(settings))
    if named.aws_key is not None and named.root != "aws-kms":
        found.append(_aws(named))
    return found


def _vault(settings: Settings) -> "keys.RootCipher":
    from interlock.adapters import keys

    named = settings.keys
    assert named.vault_address is not None
    assert named.vault_key is not None
    return keys.VaultTransit(
        address=named.vault_address,
        key=named.vault_key,
        token=partial(_vault_token, settings),
        namespace=named.vault_namespace,
        ssl_context=_believing(settings),
    )


def _aws(named: KeySettings) -> "keys.RootCipher":
    from interlock.adapters import keys

    assert named.aws_key is not None
    return keys.AwsKms(key=named.aws_key, endpoint=named.aws_endpoint)


def _vault_token(settings: Settings) -> str:
    """Read each time: Vault's agent renews it."""
    from interlock.adapters import keys

    if (name := settings.keys.vault_token_file) is not None:
        return provided.read_text(settings.folder / Path(name).expanduser(), "token file").strip()
    if token := os.environ.get("VAULT_TOKEN"):
        return token
    raise keys.RootRefused(
        "there is no token for Vault", next_step="Set VAULT_TOKEN, or name its file as `vault_token_file` under [keys]."
    )


def _believing(settings: Settings) -> ssl.SSLContext | None:
    if (name := settings.keys.vault_authorities) is None:
        return None
    path = settings.folder / Path(name).expanduser()
    text = provided.read_text(path, "file of authorities")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError) as error:
        raise provided.FileUnreadable(f"{path} holds no certificates in PEM") from error
    return context
