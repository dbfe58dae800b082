"""Keys and certificates of a node and of its clients, as files that OpenSSL reads, too.

node/    cert.pem key.pem       what the node shows
         client-ca.pem          whose certificates it takes from clients
         trust.pem              whose authority it takes (Ed25519 public keys)
         receipts.pem           what it signs receipts with (Ed25519)
client/  ca.pem                 whose certificate the client takes from the node
         cert.pem key.pem       what the client shows
         authority.pem          what the client signs authority with (Ed25519)
         receipts.pem           whose signature the node's receipts must bear (Ed25519 public keys)
         node-id                which node it speaks to
"""

import base64
import hashlib
import os
import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from interlock import plane
from interlock.kernel import Clock, ConfigurationError

LIFETIME: Final = timedelta(days=825)
"""How long certificates are good that are made here."""

_END: Final = b"-----END PUBLIC KEY-----"


class CredentialsExist(ConfigurationError):
    """There are files already where keys were to be made."""

    code = "credentials_exist"
    next_step = "Choose a folder that does not exist yet; keys that are in use are not overwritten."


class CredentialsUnusable(ConfigurationError):
    """A file with keys or certificates cannot be used."""

    code = "credentials_unusable"
    next_step = "Look at the file that the message names; `interlock node init` makes all that are needed."


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientIdentity:
    """What a client needs for one node."""

    node_id: str
    ssl_context: ssl.SSLContext
    authorizer: plane.SignedAuthorizer
    tokens: plane.SignedAuthorizer | None
    receipt_keys: Mapping[str, str] | None
    """The public keys under which the node signs receipts, by key id, in base64; None if none are pinned."""


def make_credentials(folder: Path, *, node_id: str, names: Sequence[str], client: str, clock: Clock) -> None:
    """Make the folders `node` and `client` in a new folder. The authority that has signed both is not kept. `names`: host
    names and addresses by which the node is reached. Raises CredentialsExist, CredentialsUnusable."""
    try:
        folder.mkdir(mode=0o700, parents=True)
    except FileExistsError as error:
        raise CredentialsExist(f"{folder} exists") from error
    except OSError as error:
        raise CredentialsUnusable(f"{folder}: {error.strerror}") from error
    issuer = _Issuer(f"{node_id} keys", clock)
    authority, receipts = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    node_cert, node_key = issuer.issue(node_id, ExtendedKeyUsageOID.SERVER_AUTH, names)
    client_cert, client_key = issuer.issue(client, ExtendedKeyUsageOID.CLIENT_AUTH, ())
    files = {
        "node/cert.pem": node_cert,
        "node/key.pem": node_key,
        "node/client-ca.pem": issuer.certificate,
        "node/trust.pem": _public_pem(authority.public_key()),
        "node/receipts.pem": _private_pem(receipts),
        "client/ca.pem": issuer.certificate,
        "client/cert.pem": client_cert,
        "client/key.pem": client_key,
        "client/authority.pem": _private_pem(authority),
        "client/receipts.pem": _public_pem(receipts.public_key()),
        "client/node-id": f"{node_id}\n".encode(),
    }
    for part in ("node", "client"):
        (folder / part).mkdir(mode=0o700)
    for name, data in files.items():
        with os.fdopen(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)


def load_identity(folder: Path, *, clock: Clock) -> ClientIdentity:
    """What stands in a client's folder. With a `token.pem` (Ed25519) in place of a certificate, requests are signed. Raises
    CredentialsUnusable."""
    token, receipts = folder / "token.pem", folder / "receipts.pem"
    cert, key = folder / "cert.pem", folder / "key.pem"
    needed = [folder / "ca.pem", *([] if token.exists() else [cert, key])]
    try:
        for each in needed:
            each.read_bytes()  # the TLS library would not say which one it is
        context = ssl.create_default_context(cafile=folder / "ca.pem")
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        if key in needed:
            context.load_cert_chain(cert, key, "")  # or it would ask for a password at the terminal
        return ClientIdentity(
            node_id=(folder / "node-id").read_text().strip(),
            ssl_context=context,
            authorizer=_authorizer(folder / "authority.pem", clock),
            tokens=_authorizer(token, clock) if token.exists() else None,
            receipt_keys=load_receipt_keys(receipts) if receipts.exists() else None,
        )
    except ssl.SSLError as error:
        names = ", ".join(each.name for each in needed)
        message = f"the client's keys in {folder}: {names} are not what they should be: {error.reason or error}"
        raise CredentialsUnusable(message) from error
    except OSError as error:
        name = Path(str(error.filename)).name
        raise CredentialsUnusable(f"the client's keys in {folder}: {name}: {error.strerror}") from error


def load_public_keys(file: Path) -> dict[str, Ed25519PublicKey]:
    """The Ed25519 public keys (PEM) in a file, by key id. Raises CredentialsUnusable."""
    try:
        keys = [*_public_keys(file.read_bytes())]
    except OSError as error:
        raise CredentialsUnusable(f"{file}: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise CredentialsUnusable(f"{file} holds something else than Ed25519 public keys (PEM)") from error
    if not keys:
        raise CredentialsUnusable(f"{file} holds no public key")
    return {key_id(key): key for key in keys}


def load_receipt_keys(file: Path) -> dict[str, str]:
    """The Ed25519 public keys (PEM) in a file, in base64 by key id, as `plane.verify_receipt` takes them. Raises
    CredentialsUnusable."""
    return {name: base64.b64encode(key.public_bytes_raw()).decode() for name, key in load_public_keys(file).items()}


def key_id(key: Ed25519PublicKey) -> str:
    """The name of a key, made from itself."""
    return "ed25519-" + hashlib.sha256(key.public_bytes_raw()).hexdigest()[:32]


def load_private_key(file: Path) -> Ed25519PrivateKey:
    """The Ed25519 private key (PEM) in a file. Raises CredentialsUnusable."""
    try:
        key = serialization.load_pem_private_key(file.read_bytes(), None)
    except (ValueError, TypeError) as error:
        raise CredentialsUnusable(f"{file} is no private key without a password (PEM)") from error
    except OSError as error:
        raise CredentialsUnusable(f"{file}: {error.strerror}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise CredentialsUnusable(f"{file} is not an Ed25519 key")
    return key


def _authorizer(file: Path, clock: Clock) -> plane.SignedAuthorizer:
    key = load_private_key(file)
    return plane.SignedAuthorizer(key_id(key.public_key()), key, clock=clock)


def _public_keys(data: bytes) -> Iterator[Ed25519PublicKey]:
    while _END in data:
        one, _, data = data.partition(_END)
        key = serialization.load_pem_public_key(one + _END + b"\n")
        if not isinstance(key, Ed25519PublicKey):
            raise TypeError("another kind of key")
        yield key


def _public_pem(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _private_pem(key: Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


class _Issuer:
    """An authority that lives as long as this object."""

    def __init__(self, name: str, clock: Clock) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _common_name(name)
        self._start = clock.now() - timedelta(minutes=5)
        built = (
            self._begin(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(ca=True), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.certificate = built.public_bytes(serialization.Encoding.PEM)

    def issue(self, name: str, purpose: x509.ObjectIdentifier, hosts: Sequence[str]) -> tuple[bytes, bytes]:
        """A certificate and its key, as PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            self._begin(_common_name(name), key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(ca=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        )
        if hosts:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False
            )
        certificate = builder.sign(self._key, hashes.SHA256())
        return certificate.public_bytes(serialization.Encoding.PEM), _private_pem(key)

    def _begin(self, subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        issuer = self._key.public_key()
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._start)
            .not_valid_after(self._start + LIFETIME)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer), critical=False)
        )


def _common_name(name: str) -> x509.Name:
    try:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    except ValueError as error:
        raise CredentialsUnusable(f"{name[:80]!r} cannot be a name in a certificate: {error}") from error


def _host(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        pass
    try:
        return x509.DNSName(name)
    except ValueError as error:
        raise CredentialsUnusable(f"{name[:80]!r} is neither a host name nor an address") from error


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )
