"""What can go wrong with keys."""

from collections.abc import Sequence
from typing import Protocol

from interlock.kernel import ConfigurationError, Retry, StoreError

PUT_BACK = "Put back the key that this store was made with: what it holds opens under no other."

MAKE = "python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"


class KeyMissing(ConfigurationError):
    """No root key is configured, so nothing can be sealed or opened."""

    code = "key_missing"
    next_step = f"`interlock init` makes a key for this machine; or set INTERLOCK_KEY to the output of: {MAKE}"


class KeyPresent(ConfigurationError):
    """A root key was to be made where a file is already; nothing was written."""

    code = "key_present"
    next_step = "Name another file. A key that is in use is never overwritten: what it wrapped opens under no other."


class KeyInvalid(ConfigurationError):
    """What is configured as the root key is not one."""

    code = "key_invalid"
    next_step = f"A key is 32 random bytes as base64url or hex, for instance the output of: {MAKE}"


class KeyExposed(ConfigurationError):
    """The file with the root key can be read or changed by others."""

    code = "key_exposed"
    next_step = "Make the file yours alone (`chmod 600 FILE`), and replace the key if others may have read it."


class WrongKey(ConfigurationError):
    """The store was sealed under another root key."""

    code = "wrong_key"
    next_step = (
        "Point INTERLOCK_KEY or INTERLOCK_KEY_FILE at the key that the store was made with; if it is to go over to a new one, "
        "the old one goes to INTERLOCK_KEY_PREVIOUS or INTERLOCK_KEY_PREVIOUS_FILE, for `interlock keys rotate --root`."
    )


class RootUnavailable(StoreError):
    """The service that holds the root key cannot be reached, or cannot answer now."""

    code = "root_unavailable"
    next_step = "Look at that service, and try again: what is sealed opens when it answers."


class RootRefused(ConfigurationError):
    """The service that holds the root key refuses it to this process."""

    code = "root_refused"
    next_step = "Give the process a token or a role that may encrypt and decrypt with that key, and see whether the key is there."


class KmsMissing(ConfigurationError):
    """The package for AWS KMS is not installed."""

    code = "kms_missing"
    next_step = "Install the extra: `pip install 'interlock[aws]'`."


class KeyNotFound(StoreError):
    """A row is sealed under a key that the store does not have."""

    code = "key_not_found"
    retry = Retry.NEVER
    next_step = "The keys table was damaged: restore it from a backup, or connect the services again."


class KeyDamaged(StoreError):
    """A stored key was altered, or moved from another row."""

    code = "key_damaged"
    retry = Retry.NEVER
    next_step = "The keys table was damaged: restore it from a backup, or connect the services again."


class _Root(Protocol):
    @property
    def root_id(self) -> str: ...
    @property
    def source(self) -> str: ...


def wrong_key(needed: str, here: Sequence[_Root]) -> WrongKey:
    """The error that names the key that is needed, and those that were found."""
    found = " and ".join(f"the one from {root.source} is {root.root_id}" for root in here)
    return WrongKey(f"this store was sealed under the root key {needed}, and {found}")
