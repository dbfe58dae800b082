"""The program that confines itself and then becomes the command. It runs by itself, with the standard library alone.

Its two arguments are descriptors: from the first it reads what to do, as JSON; to the second it writes why it could not.
When that closes without a word, the command runs, confined by Landlock and seccomp for good, with no capabilities and no
way to gain any.
"""

import base64
import contextlib
import ctypes
import json
import os
import stat
import sys
from typing import Any, Final

_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446
_SET_NO_NEW_PRIVS, _SET_SECCOMP, _DROP_BOUNDING, _SET_SECUREBITS, _AMBIENT = 38, 22, 24, 28, 47
_FILTER: Final = 2
_CLEAR_ALL: Final = 4
_LOCKED_NOROOT: Final = 0x2F  # SECBIT_NOROOT, SECBIT_NO_SETUID_FIXUP, SECBIT_NO_CAP_AMBIENT_RAISE, locked
_PATH_BENEATH: Final = 1
_CAPABILITY_VERSION: Final = 0x20080522

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _REFER, _TRUNCATE, _IOCTL = 1, 2, 4, 8, 1 << 13, 1 << 14, 1 << 15
_ON_FILES: Final = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL
_READ: Final = _EXECUTE | _READ_FILE | _READ_DIR
_BY_ABI: Final = {3: (1 << 15) - 1, 5: (1 << 16) - 1}
_TCP: Final = 3
_SCOPES: Final = 3

_DEVICES: Final = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty")

MISSING, UNUSABLE = "missing", "unusable"
"""How a report begins: the command is not there, or there is another reason."""

_libc = ctypes.CDLL(None, use_errno=True)


def abi() -> int:
    """The version of Landlock in this kernel; 0 if there is none."""
    return max(0, _libc.syscall(_CREATE, None, 0, 1))


def main() -> None:
    """Confine, and become the command."""
    orders, report = int(sys.argv[1]), int(sys.argv[2])
    os.set_inheritable(report, False)  # noqa: FBT003 - it takes no name
    with os.fdopen(orders, "rb") as file:
        spec = json.load(file)
    word = UNUSABLE
    try:
        _confine(spec)
        word = MISSING
        _become(spec)
    except OSError as error:
        word = word if isinstance(error, FileNotFoundError) else UNUSABLE
        os.write(report, f"{word} {error.filename or error.strerror}: {os.strerror(error.errno or 0)}".encode())
    os._exit(126)


def _confine(spec: dict[str, Any]) -> None:
    _call(_libc.prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    _restrict(spec["read"], spec["write"], network=spec["network"])
    _drop_capabilities()
    os.chdir(spec["cwd"])
    code = base64.b64decode(spec["filter"])
    buffer = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(code) // 8, ctypes.addressof(buffer))
    _call(_libc.prctl(_SET_SECCOMP, _FILTER, ctypes.byref(program), 0, 0), "seccomp")


def _restrict(read: list[str], write: list[str], *, network: bool) -> None:
    version = abi()
    handled = _BY_ABI[5] if version >= 5 else _BY_ABI[3]
    ruleset = _Ruleset(handled, _TCP if version >= 4 and not network else 0, _SCOPES if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    rules = _libc.syscall(_CREATE, ctypes.byref(ruleset), size, 0)
    _call(rules, "landlock_create_ruleset")
    for path in read:
        _allow(rules, path, _READ, required=False)
    for path in write:
        _allow(rules, path, handled, required=True)
    for path in _DEVICES:
        _allow(rules, path, (_READ_FILE | _WRITE_FILE | _IOCTL) & handled, required=False)
    _call(_libc.syscall(_RESTRICT, rules, 0), "landlock_restrict_self")
    os.close(rules)


def _allow(rules: int, path: str, access: int, *, required: bool) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        if required:
            raise
        return  # what is not there cannot be read
    try:
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            access &= _ON_FILES
        rule = _PathBeneath(access, fd)
        _call(_libc.syscall(_ADD_RULE, rules, _PATH_BENEATH, ctypes.byref(rule), 0), path)
    finally:
        os.close(fd)


def _drop_capabilities() -> None:
    for number in range(64):
        _libc.prctl(_DROP_BOUNDING, number, 0, 0, 0)  # fails where there is nothing to drop, and beyond the last
    _libc.prctl(_SET_SECUREBITS, _LOCKED_NOROOT, 0, 0, 0)  # only where there are capabilities
    _libc.prctl(_AMBIENT, _CLEAR_ALL, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    _call(_libc.capset(ctypes.byref(header), ctypes.byref((ctypes.c_uint32 * 6)())), "capset")


def _become(spec: dict[str, Any]) -> None:
    command, failure = spec["argv"][0], FileNotFoundError(2, "not found", spec["argv"][0])
    if "/" in command:
        os.execve(command, spec["argv"], spec["env"])  # noqa: S606 - a shell is what it must not be
    for folder in spec["path"].split(":"):
        if folder:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                try:
                    os.execve(f"{folder}/{command}", spec["argv"], spec["env"])  # noqa: S606 - as above
                except PermissionError as error:
                    failure = error
    raise failure


def _call(result: int, what: str) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), what, what)


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("access", ctypes.c_uint64), ("parent", ctypes.c_int32))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))


if __name__ == "__main__":
    main()
