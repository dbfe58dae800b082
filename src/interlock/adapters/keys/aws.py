"""A root key that lies in AWS KMS, and never leaves it.

By botocore, in a thread: it finds credentials in all the ways in which a machine of AWS may have them (roles of instances, of
containers and of pods, single sign-on), which signing two requests by ourselves would not.
"""

import re
from typing import Any, Final

import anyio.to_thread

from interlock.adapters.keys.errors import KeyInvalid, KmsMissing, RootRefused, RootUnavailable
from interlock.adapters.keys.model import Wrapped
from interlock.adapters.keys.tying import tie, untie

_KEY: Final = re.compile(r"arn:aws[a-z-]*:kms:([a-z0-9-]+):\d{12}:key/[A-Za-z0-9-]{1,60}")
_ALTERED: Final = frozenset({"InvalidCiphertextException", "IncorrectKeyException"})
_LATER: Final = frozenset(
    {
        "DependencyTimeoutException",
        "KMSInternalException",
        "ThrottlingException",
        "RequestTimeout",
        "ServiceUnavailable",
    }
)


class AwsKms:
    """A `RootCipher`: a symmetric key of AWS KMS, by its ARN, which names the region. `endpoint` is for one inside a network.

    Other keys of the store are wrapped and unwrapped by one request each, once in each process. Methods raise RootUnavailable,
    RootRefused and KmsMissing.
    """

    def __init__(self, *, key: str, endpoint: str | None = None) -> None:
        if (found := _KEY.fullmatch(key)) is None:
            raise KeyInvalid("keys.aws_key: must be the ARN of a key: arn:aws:kms:REGION:ACCOUNT:key/ID")
        self._key = key
        self._region = found[1]
        self._endpoint = endpoint
        self._client: Any = None
        self.root_id = f"aws:{key}"
        self.source = f"AWS KMS in {self._region}"

    async def wrap(self, raw: bytes, *, aad: bytes) -> Wrapped:
        """Encrypt; `aad` must be given again to open."""
        answer = await self._ask("encrypt", Plaintext=tie(raw, aad))
        return Wrapped(nonce=b"", ciphertext=bytes(answer["CiphertextBlob"]))

    async def unwrap(self, wrapped: Wrapped, *, aad: bytes) -> bytes | None:
        """Decrypt. None: ciphertext or `aad` are not those that this key wrapped."""
        answer = await self._ask("decrypt", CiphertextBlob=wrapped.ciphertext)
        return None if answer is None else untie(bytes(answer["Plaintext"]), aad)

    async def _ask(self, verb: str, **parameters: bytes) -> Any:
        return await anyio.to_thread.run_sync(self._call, verb, parameters)

    def _call(self, verb: str, parameters: dict[str, bytes]) -> Any:
        """What it answers; None if it says that the ciphertext is none of this key."""
        try:
            from botocore import exceptions
        except ModuleNotFoundError as error:
            raise KmsMissing("AWS KMS needs the package botocore") from error
        try:
            if self._client is None:
                self._client = self._connect()
            return getattr(self._client, verb)(KeyId=self._key, **parameters)
        except exceptions.ClientError as error:
            told: Any = error.response
            code = str(told.get("Error", {}).get("Code"))
            if code in _ALTERED:
                return None
            if code in _LATER:
                raise RootUnavailable(f"{self.source} cannot {verb} now: {code}") from error
            raise RootRefused(f"{self.source} refused to {verb} with {self._key}: {code}") from error
        except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError) as error:
            raise RootRefused(f"there are no credentials for {self.source}") from error
        except exceptions.BotoCoreError as error:
            raise RootUnavailable(f"{self.source} cannot be reached: {error}"[:500]) from error

    def _connect(self) -> Any:
        from botocore import config
        from botocore.session import Session

        found: Any = Session()
        settings = config.Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 2})
        return found.create_client("kms", region_name=self._region, endpoint_url=self._endpoint, config=settings)
