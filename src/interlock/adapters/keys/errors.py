"""What can go wrong with keys."""

from interlock.kernel import ConfigurationError, Retry, StoreError

PUT_BACK = "Put back the key that this store was made with: what it holds opens under no other."

MAKE = "python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"


class KeyMissing(ConfigurationError):
    """No root key is configured, so nothing can be sealed or opened."""

    code = "key_missing"
    next_step = f"`interlock init` makes a key for this machine; or set INTERLOCK_KEY to the output of: {MAKE}"


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
    next_step = "Point INTERLOCK_KEY or INTERLOCK_KEY_FILE at the key that the store was made with."


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
