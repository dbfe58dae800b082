"""Secrets in the system's keyring: `keyring:SERVICE/USER`. It needs the extra `keyring`."""

from typing import Final

import anyio
import anyio.to_thread

from interlock import connections
from interlock.adapters.secrets.file import secret_of
from interlock.kernel import Secret

_MOST_BYTES: Final = 65_536
_SECONDS: Final = 10


class SystemKeyring:
    """Asks the keyring of whoever runs this: the macOS keychain, Windows' credential manager, or the secret service."""

    async def fetch(self, place: str, *, tenant_id: str) -> Secret:
        """As `connections.SecretSource`."""
        service, _, user = place.rpartition("/")
        if not service or not user:
            raise connections.SecretUnavailable("what follows `keyring:` is not SERVICE/USER")
        where = "what the keyring has for this service and user"  # not their names: a secret may stand there by mistake
        try:
            with anyio.fail_after(_SECONDS):  # it may wait for a person to unlock it
                found = await anyio.to_thread.run_sync(_ask, service, user, abandon_on_cancel=True)
        except TimeoutError as error:
            raise connections.SecretUnavailable(
                f"the keyring gave no answer within {_SECONDS} s",
                next_step="Unlock the keyring, and send the request again.",
            ) from error
        if found is None:
            raise connections.SecretUnavailable(
                "the keyring has nothing for this service and user",
                next_step="Put it there with `keyring set SERVICE USER`; `interlock connections show` tells which they are.",
            )
        return secret_of(found.encode(), where, most=_MOST_BYTES)


def _ask(service: str, user: str) -> str | None:
    try:
        import keyring
        from keyring.errors import KeyringError
    except ModuleNotFoundError as missing:
        raise connections.SecretUnavailable(
            "the system's keyring needs a library that is not installed",
            next_step='pip install "interlock[keyring]"',
        ) from missing
    try:
        return keyring.get_password(service, user)
    except KeyringError as error:
        raise connections.SecretUnavailable(
            f"the system's keyring cannot be read ({type(error).__name__})",
            next_step="`keyring diagnose` and `keyring --list-backends` tell what there is on this machine.",
        ) from error
