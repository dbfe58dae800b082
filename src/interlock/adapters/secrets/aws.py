"""Secrets in AWS Secrets Manager: `aws:NAME`, `aws:NAME#FIELD` or an ARN in the name's place. It needs the extra `aws`.

By botocore, in a thread: it finds credentials and the region in all the ways in which a machine of AWS may have them.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import anyio
import anyio.to_thread

from interlock import connections
from interlock.adapters.secrets.file import secret_of
from interlock.kernel import InvalidJson, Secret, parse_json

_ARN: Final = re.compile(r"arn:aws[a-z-]*:secretsmanager:([a-z0-9-]+):\d{12}:secret:[A-Za-z0-9/_+=.@-]{1,519}")
_NAME: Final = re.compile(r"[A-Za-z0-9/_+=.@-]{1,512}")
_MOST_BYTES: Final = 65_536
_SECONDS: Final = 10
_WHERE: Final = "what AWS Secrets Manager has there"  # not by its name: a secret may stand there by mistake
_STEPS: Final[Mapping[str, str]] = {
    "ResourceNotFoundException": "Look with `aws secretsmanager list-secrets`, in the region that is meant.",
    "AccessDeniedException": "Allow it `secretsmanager:GetSecretValue`, and `kms:Decrypt` with the secret's key.",
    "DecryptionFailure": "Allow it `kms:Decrypt` with the secret's key.",
    "InvalidRequestException": "`aws secretsmanager describe-secret` tells whether it is to be deleted.",
}


class AwsSecrets:
    """Asks for the current version of a secret, once per question."""

    def __init__(self) -> None:
        self._clients: dict[str | None, Any] = {}

    async def fetch(self, place: str, *, tenant_id: str) -> Secret:
        """As `connections.SecretSource`."""
        name, mark, field = place.partition("#")
        arn = _ARN.fullmatch(name)
        if (arn is None and not _NAME.fullmatch(name)) or (mark and not field):
            raise connections.SecretUnavailable("what follows `aws:` is not NAME, NAME#FIELD or an ARN")
        try:
            with anyio.fail_after(_SECONDS):
                told = await anyio.to_thread.run_sync(self._ask, name, arn and arn[1], abandon_on_cancel=True)
        except TimeoutError as error:
            raise connections.SecretUnavailable(
                f"AWS Secrets Manager gave no answer within {_SECONDS} s",
                next_step="Look at the network between this machine and the region's endpoint.",
            ) from error
        text, binary = told.get("SecretString"), told.get("SecretBinary", b"")
        held = text.encode() if isinstance(text, str) else bytes(binary)
        return _member(held, field) if field else secret_of(held, _WHERE, most=_MOST_BYTES)

    def _ask(self, name: str, region: str | None) -> Any:
        try:
            from botocore import exceptions
        except ModuleNotFoundError as missing:
            raise connections.SecretUnavailable(
                "AWS Secrets Manager needs a library that is not installed", next_step='pip install "interlock[aws]"'
            ) from missing
        try:
            if region not in self._clients:
                self._clients[region] = _connect(region)
            return self._clients[region].get_secret_value(SecretId=name)
        except exceptions.ClientError as error:
            told: Any = error.response
            code = str(told.get("Error", {}).get("Code"))[:60]
            raise connections.SecretUnavailable(
                f"AWS Secrets Manager gave no secret: {code}",
                next_step=_STEPS.get(code, "`aws secretsmanager get-secret-value` tells more."),
            ) from None  # which may say the name
        except exceptions.BotoCoreError as error:
            raise connections.SecretUnavailable(
                f"AWS Secrets Manager cannot be asked ({type(error).__name__})",
                next_step="`aws sts get-caller-identity` tells whether there are credentials; AWS_REGION names the region.",
            ) from error


def _connect(region: str | None) -> Any:
    from botocore import config
    from botocore.session import Session

    found: Any = Session()
    settings = config.Config(connect_timeout=3, read_timeout=5, retries={"total_max_attempts": 2})
    return found.create_client("secretsmanager", region_name=region, config=settings)


def _member(held: bytes, field: str) -> Secret:
    try:
        found = parse_json(held, what="the secret")
    except InvalidJson:
        raise connections.SecretUnavailable(f"{_WHERE} is not JSON, and has no field") from None
    value = found.get(field) if isinstance(found, Mapping) else None
    if not isinstance(value, str):
        raise connections.SecretUnavailable(f"{_WHERE} has no text in the field that is named")
    return secret_of(value.encode(), _WHERE, most=_MOST_BYTES)
