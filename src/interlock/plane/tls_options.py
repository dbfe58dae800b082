"""How TLS is to be spoken, as part of an intent, and whom to believe. Who we are is said by a credential."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from interlock.plane.contract import Contract
from interlock.plane.urls import Url

Certificates = Annotated[
    str,
    StringConstraints(
        max_length=262_144,
        pattern=r"^(?:-----BEGIN CERTIFICATE-----\n[A-Za-z0-9+/=\n]+-----END CERTIFICATE-----\n*)+$",
    ),
]
"""One or several certificates in PEM, and nothing else."""


class TlsOptions(Contract):
    """`authorities` are believed instead of those that the lane knows; `server_name` is asked for, and must stand in the
    peer's certificate, instead of the URL's host; below `minimum_version` nothing is said."""

    authorities: Certificates | None = Field(default=None, repr=False)
    minimum_version: Literal["1.2", "1.3"] = "1.2"
    server_name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?$")] | None = None


def check_tls(options: TlsOptions | None, target: Url) -> None:
    """Raises ValueError for options where no TLS is spoken."""
    if options is not None and target.scheme != "https":
        raise ValueError("TLS options need a URL under TLS")


def is_none(value: object) -> bool:
    """What is not there does not stand in a record: an intent without it has the digest that it always had."""
    return value is None
