"""The secrets of a command, from the reference to the value, at the last moment."""

import os
from typing import Final

from interlock import plane
from interlock.kernel import InterlockError

_LONGEST: Final = 65_536
"""Bytes that a pipe holds."""


async def redeemed(
    intent: plane.ProcessIntent, credentials: plane.CredentialResolver
) -> tuple[dict[str, str], dict[int, str]]:
    """The whole environment, and the values of secrets by the descriptors that they are read from. Raises LaneFailure."""
    env, values = dict(intent.env), dict[int, str]()
    for secret in intent.secrets:
        try:
            value = await credentials.redeem(
                secret.ref, host=secret.host, tenant_id=intent.tenant_id, run_id=intent.run_id
            )
            text = value.reveal()
            if secret.env is not None:
                if "\0" in text:
                    raise ValueError("a variable cannot hold a NUL")
                env[secret.env] = text
            elif secret.fd is not None:
                if len(text.encode()) > _LONGEST:
                    raise ValueError(f"a secret by descriptor has at most {_LONGEST} bytes")
                values[secret.fd] = text
        except (InterlockError, ValueError) as error:
            code = error.code if isinstance(error, InterlockError) else "unusable_secret"
            raise plane.LaneFailure(
                plane.FailureClass.CREDENTIAL_UNAVAILABLE, f"the credential was not given: {error}", code=code
            ) from error
    return env, values


def secret_pipe(value: bytes) -> int:
    """A descriptor from which the value can be read once. Raises LaneFailure if the system has no room for it."""
    theirs, ours = os.pipe()
    try:
        os.set_blocking(ours, False)
        if value and os.write(ours, value) < len(value):
            message = "the system gives a pipe no room for a secret of this length"
            raise plane.LaneFailure(plane.FailureClass.CREDENTIAL_UNAVAILABLE, message, code="unusable_secret")
    except BaseException:
        os.close(theirs)
        raise
    finally:
        os.close(ours)
    return theirs
