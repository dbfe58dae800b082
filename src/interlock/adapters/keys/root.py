"""The root key: found in the operator's settings, never in the store and never beside it."""

import base64
import binascii
import hashlib
import hmac
import os
import stat
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Never

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from interlock.adapters.keys.errors import MAKE, KeyExposed, KeyInvalid, KeyMissing, KeyPresent
from interlock.adapters.keys.model import Wrapped

_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_MAX_FILE: Final = 4096


class RootKey:
    """32 secret bytes under which every other key is wrapped (AES-256-GCM): a `RootCipher` that lies with the operator. It
    does not print and cannot be pickled.

    `root_id` is a fingerprint that gives nothing away; `source` says where the key was found.
    """

    __slots__ = ("_cipher", "_random_bytes", "root_id", "source")

    def __init__(self, raw: bytes, *, source: str, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        if len(raw) != _BYTES:
            raise KeyInvalid(f"the key from {source} has {len(raw)} bytes, not {_BYTES}")
        if len(set(raw)) < 8:  # of 32 random bytes that never happens
            raise KeyInvalid(f"the key from {source} is not random")
        self._cipher = AESGCM(raw)
        self._random_bytes = random_bytes
        self.source = source
        self.root_id = "root_" + hmac.new(raw, b"interlock/root-id/v1", hashlib.sha256).hexdigest()[:32]

    async def wrap(self, raw: bytes, *, aad: bytes) -> Wrapped:
        """Encrypt; `aad` must be given again to open."""
        nonce = self._random_bytes(_NONCE_BYTES)
        return Wrapped(nonce=nonce, ciphertext=self._cipher.encrypt(nonce, raw, aad))

    async def unwrap(self, wrapped: Wrapped, *, aad: bytes) -> bytes | None:
        """Decrypt. None: ciphertext or `aad` are not those that this key wrapped."""
        try:
            return self._cipher.decrypt(wrapped.nonce, wrapped.ciphertext, aad)
        except (InvalidTag, ValueError):  # ValueError: the nonce has no length that a nonce may have
            return None

    def __repr__(self) -> str:
        return f"RootKey({self.root_id})"

    def __reduce__(self) -> Never:
        raise TypeError("a RootKey cannot be pickled or copied")


def fleeting_root(random_bytes: Callable[[int], bytes] = os.urandom) -> RootKey:
    """A root key that is gone with the process: for a store in memory."""
    return RootKey(random_bytes(_BYTES), source="memory")


def load_root(
    *,
    environ: Mapping[str, str],
    create: bool = False,
    allow_generated: bool = True,
    config_dir: Path | None = None,
    random_bytes: Callable[[int], bytes] = os.urandom,
) -> RootKey:
    """The root key from INTERLOCK_KEY, else INTERLOCK_KEY_FILE, else `root.key` in the user's configuration directory.

    `create` makes that last file if it is not there. With `allow_generated=False` (a database that other machines
    share) it is neither read nor made. Raises KeyMissing, KeyInvalid, KeyExposed.
    """
    if (root := _told(environ, "INTERLOCK_KEY")) is not None:
        return root
    if not allow_generated:
        raise KeyMissing(
            "this database needs a root key that every process shares: "
            "neither INTERLOCK_KEY nor INTERLOCK_KEY_FILE is set"
        )
    path = generated_path(config_dir)
    if (root := _from_file(path)) is not None:
        return root
    if not create:
        raise KeyMissing(f"no root key: neither INTERLOCK_KEY nor INTERLOCK_KEY_FILE is set, and {path} does not exist")
    _generate(path, random_bytes(_BYTES))
    root = _from_file(path)
    assert root is not None
    return root


def load_previous(environ: Mapping[str, str]) -> RootKey | None:
    """The root key that a store goes over from: INTERLOCK_KEY_PREVIOUS, else INTERLOCK_KEY_PREVIOUS_FILE, else none.

    Raises KeyMissing, KeyInvalid, KeyExposed.
    """
    return _told(environ, "INTERLOCK_KEY_PREVIOUS")


def make_key(path: Path, random_bytes: Callable[[int], bytes] = os.urandom) -> RootKey:
    """A new root key in a file of its own, which only its owner can read. Raises KeyPresent if there is a file, KeyMissing if it
    cannot be written."""
    made = RootKey(raw := random_bytes(_BYTES), source=str(path))
    if not _generate(path, raw):
        raise KeyPresent(f"there is a file {path} already")
    return made


def generated_path(config_dir: Path | None = None) -> Path:
    """Where a key made on this machine is kept."""
    if config_dir is None:
        import platformdirs

        config_dir = platformdirs.user_config_path("interlock", appauthor=False)
    return config_dir / "root.key"


def _told(environ: Mapping[str, str], variable: str) -> RootKey | None:
    """The key that a variable holds, or the file that its neighbour names."""
    if text := environ.get(variable):
        return RootKey(_decode(text, source=variable), source=variable)
    if not (name := environ.get(f"{variable}_FILE")):
        return None
    path = Path(name).expanduser()
    if (root := _from_file(path)) is None:
        raise KeyMissing(f"{variable}_FILE names {path}, which does not exist")
    return root


def _from_file(path: Path) -> RootKey | None:
    try:
        # Not blocking: a named pipe must not make us wait for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KeyInvalid(f"the key file {path} cannot be read: {error.strerror}") from error
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise KeyInvalid(f"the key file {path} is not a regular file")
        if facts.st_uid not in {os.geteuid(), 0}:
            raise KeyExposed(f"the key file {path} belongs to another user")
        if facts.st_mode & 0o077:
            raise KeyExposed(f"the key file {path} has mode {stat.S_IMODE(facts.st_mode):04o}: others can get at it")
        data = os.read(descriptor, _MAX_FILE + 1)
    finally:
        os.close(descriptor)
    if len(data) > _MAX_FILE:
        raise KeyInvalid(f"the key file {path} is larger than {_MAX_FILE} bytes")
    return RootKey(_decode(data.decode("latin-1"), source=str(path)), source=str(path))


def _decode(text: str, *, source: str) -> bytes:
    text = text.strip()
    try:
        if len(text) == 2 * _BYTES:
            return bytes.fromhex(text)
        return base64.b64decode(text.rstrip("=") + "=", altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        # From nothing: the cause would quote the key.
        raise KeyInvalid(f"the key from {source} is neither base64url nor hex of {_BYTES} bytes") from None


def _generate(path: Path, raw: bytes) -> bool:
    """Write the key whole or not at all. False if there is a file already, maybe of a process that was quicker: it stands."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, draft = tempfile.mkstemp(prefix=".root-", dir=path.parent)  # mode 0600
        try:
            with open(descriptor, "wb") as file:
                file.write(base64.urlsafe_b64encode(raw) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            os.link(draft, path)
        except FileExistsError:
            return False
        finally:
            Path(draft).unlink()
    except OSError as error:
        raise KeyMissing(
            f"there is no root key, and {path} cannot be written: {error.strerror}",
            next_step=f"Let that folder be written, or set INTERLOCK_KEY to the output of: {MAKE}",
        ) from error
    return True
