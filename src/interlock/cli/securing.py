"""How a command of the plane speaks TLS: whom it believes, and who it is."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from interlock.cli import files
from interlock.cli.errors import Usage
from interlock.kernel import Secret

if TYPE_CHECKING:
    from interlock import plane

_HANDLE: Final = "command-line"
_CHAIN: Final = "certificate"
_KEY: Final = "private_key"
_CERTIFICATE: Final = re.compile(r"-----BEGIN CERTIFICATE-----\s[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")

Authorities = Annotated[
    str | None, typer.Option("--cacert", metavar="FILE", help="Believe the authorities in it (PEM), not the system's.")
]
Certificate = Annotated[
    str | None, typer.Option("--cert", metavar="FILE", help="Show this certificate, with those it hangs on (PEM).")
]
Key = Annotated[str | None, typer.Option("--key", metavar="FILE", help="Its private key (PEM, without a password).")]
Minimum = Annotated[str | None, typer.Option("--tls-min", metavar="VERSION", help="Speak no TLS below it: 1.2 or 1.3.")]
ServerName = Annotated[
    str | None, typer.Option("--server-name", metavar="NAME", help="Whom the peer's certificate must name.")
]


@dataclass(frozen=True, slots=True)
class Tls:
    """What was asked for: the fields of the intent's TLS options, and the certificate and its private key, if there are
    some."""

    options: dict[str, Any]
    secrets: dict[str, Secret]

    @property
    def credentials(self) -> "tuple[plane.CredentialRef, ...]":
        """As the intent refers to the certificate."""
        from interlock import plane

        return (plane.ClientCertificate(handle=_HANDLE, chain=_CHAIN, key=_KEY),) if self.secrets else ()

    async def redeem(self, ref: "plane.SecretRef", *, host: str, tenant_id: str, run_id: str) -> Secret:
        """The certificate or its key. They are the only secrets that a request from the command line has."""
        del host, tenant_id, run_id
        return self.secrets[ref.field]


def read_tls(
    *, cacert: str | None, cert: str | None, key: str | None, tls_min: str | None, server_name: str | None
) -> Tls:
    """Read what the options name. Raises Usage and FileRefused."""
    if (cert is None) is not (key is None):
        raise Usage("--cert and --key go together")
    options = {"minimum_version": tls_min, "server_name": server_name}
    if cacert is not None:
        options["authorities"] = _certificates(cacert, "--cacert")
    secrets: dict[str, Secret] = {}
    if cert is not None and key is not None:
        secrets = {_CHAIN: Secret(_certificates(cert, "--cert")), _KEY: Secret(_text(key, "private key"))}
    return Tls({name: value for name, value in options.items() if value is not None}, secrets)


def _certificates(name: str, option: str) -> str:
    """The certificates of a file, without what else stands in it."""
    found = _CERTIFICATE.findall(_text(name, "certificate"))
    if not found:
        raise Usage(f"{option} {name[:100]}: there is no certificate in PEM in it")
    return "".join(f"{each.replace(chr(13), '')}\n" for each in found)


def _text(name: str, what: str) -> str:
    return files.read(name, what).decode("utf-8", "replace")
