"""Keys: the root key, with the operator or with a service, and the store's own keys wrapped under it.

Owns: finding the root key, data keys (one per tenant) and signing keys, sealing, opening, signing, rotating.
Refuses: knowing what is sealed or signed; keeping any key in the clear outside of memory.
Invariants: a key serves one tenant and one purpose; a wrapped key opens only in its own row; nothing is ever written
under a root key other than the store's.
"""

from interlock.adapters.keys.aws import AwsKms
from interlock.adapters.keys.errors import (
    MAKE,
    PUT_BACK,
    KeyDamaged,
    KeyExposed,
    KeyInvalid,
    KeyMissing,
    KeyNotFound,
    KeyPresent,
    KmsMissing,
    RootRefused,
    RootUnavailable,
    WrongKey,
    wrong_key,
)
from interlock.adapters.keys.keyring import Keyring
from interlock.adapters.keys.model import Holding, Purpose, Records, RootCipher, StoredKey, StoredRotation, Wrapped
from interlock.adapters.keys.root import RootKey, fleeting_root, generated_path, load_previous, load_root, make_key
from interlock.adapters.keys.rotating import BATCH, Rotating
from interlock.adapters.keys.signer import Signer
from interlock.adapters.keys.vault import VaultTransit

__all__ = [
    "BATCH",
    "MAKE",
    "PUT_BACK",
    "AwsKms",
    "Holding",
    "KeyDamaged",
    "KeyExposed",
    "KeyInvalid",
    "KeyMissing",
    "KeyNotFound",
    "KeyPresent",
    "Keyring",
    "KmsMissing",
    "Purpose",
    "Records",
    "RootCipher",
    "RootKey",
    "RootRefused",
    "RootUnavailable",
    "Rotating",
    "Signer",
    "StoredKey",
    "StoredRotation",
    "VaultTransit",
    "Wrapped",
    "WrongKey",
    "fleeting_root",
    "generated_path",
    "load_previous",
    "load_root",
    "make_key",
    "wrong_key",
]
