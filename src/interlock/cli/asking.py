"""What the commands of the plane were asked for: arguments as the plane takes them, and what is wrong with them."""

import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interlock import plane
    from interlock.kernel import Secret

_OPTIONS = {
    "argv": "the command",
    "cwd": "--cwd",
    "env": "--env",
    "read": "--read",
    "write": "--write",
    "hosts": "--host",
    "total_memory_bytes": "--memory",
    "memory_bytes": "--address-space",
    "file_bytes": "--file-size",
    "processes": "--processes",
    "files": "--files",
    "cpu_seconds": "--cpu",
    "method": "METHOD",
    "url": "URL",
    "headers": "--header",
    "subprotocols": "--subprotocol",
    "authorities": "--cacert",
    "minimum_version": "--tls-min",
    "server_name": "--server-name",
}
"""Where the fields of intents come from."""

_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30}

_MEANT = {
    "env": "a variable's name: letters, digits and _",
    "cwd": "a path from the root",
    "read": "a path from the root",
    "write": "a path from the root",
    "hosts": "HOST:PORT",
    "subprotocols": "a subprotocol's name",
    "server_name": "a host's name in small letters",
}


def made(kind: "Callable[..., Any]", **fields: Any) -> Any:
    """A contract of these fields. Raises Usage that names every option that is wrong."""
    from pydantic import ValidationError

    from interlock.cli.errors import Usage

    try:
        return kind(**fields)
    except ValidationError as error:
        found = [each for each in error.errors() if each["type"] != "default_factory_not_called"]
        raise Usage("; ".join(dict.fromkeys(_problem(each) for each in found))) from error


def _problem(error: Any) -> str:
    path = [str(each) for each in error["loc"]]
    field = next((each for each in path if each in _OPTIONS), ".".join(path))
    option = f"{_OPTIONS.get(field, field)}: " if field else ""
    if error["type"] == "value_error":
        return f"{option}{error['ctx']['error']}"
    if error["type"] == "string_pattern_mismatch":
        return f"{option}{error['input'][:60]!r} is not {_MEANT.get(field, 'what belongs there')}"
    return f"{option}{error['msg']}"


def profile(
    sandbox: str | None, *, read: Sequence[str], write: Sequence[str], hosts: Sequence[str], here: bool
) -> "plane.SandboxProfile | None":
    """What a sandbox leaves open; None if nothing is confined. Raises Usage."""
    from interlock import plane
    from interlock.cli.errors import Usage

    if sandbox is None or sandbox == plane.LOCAL_PROCESS:
        if read or write or hosts:
            raise Usage("--read, --write and --host confine nothing without a sandbox: name one with --sandbox")
        return None
    reads, writes = (
        tuple(place(each, option, here=here, is_there=True) for each in paths)
        for option, paths in (("--read", read), ("--write", write))
    )
    network = plane.Network.HOSTS if hosts else plane.Network.NONE
    return made(plane.SandboxProfile, read=reads, write=writes, network=network, hosts=tuple(hosts))


def limits(
    *,
    memory: str | None,
    address_space: str | None,
    file_size: str | None,
    processes: int | None,
    files: int | None,
    cpu: int | None,
) -> "plane.ResourceLimits":
    """How much a command may use. Raises Usage."""
    from interlock import plane

    return made(
        plane.ResourceLimits,
        total_memory_bytes=_size(memory, "--memory"),
        memory_bytes=_size(address_space, "--address-space"),
        file_bytes=_size(file_size, "--file-size"),
        processes=processes,
        files=files,
        cpu_seconds=cpu,
    )


def _size(text: str | None, option: str) -> int | None:
    """In bytes. Raises Usage."""
    from interlock.cli.errors import Usage

    if text is None:
        return None
    number, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS else (text, "")
    if not (number.isascii() and number.isdecimal() and len(number) <= 15):
        raise Usage(f"{option} {text[:60]!r}: write a number of bytes, or of 1024s of them as in 64K, 512M or 2G")
    return int(number) * _UNITS.get(unit, 1)


def secrets(asked: Sequence[str]) -> "dict[str, Secret]":
    """By variables. Raises Usage, FileRefused."""
    from interlock.cli import files
    from interlock.cli.errors import Usage
    from interlock.kernel import Secret

    found: dict[str, Secret] = {}
    for each in asked:
        name, is_file, file = each.partition("=")
        if name in found or not (name.isascii() and name.isidentifier()):
            raise Usage(f"--secret {name[:200]} is given twice, or is no name of a variable")
        if not is_file and name not in os.environ:
            raise Usage(f"--secret {name[:200]}: there is no such variable here; set it, or write NAME=FILE")
        try:
            text = files.read(file, "secret").decode().removesuffix("\n") if is_file else os.environ[name]
        except UnicodeDecodeError as error:
            raise Usage(f"--secret {name[:200]}: the file is not text in UTF-8") from error
        found[name] = Secret(text)
    return found


def place(path: str, option: str, *, here: bool, is_there: bool = False) -> str:
    """A path from the root. Elsewhere there is no folder that others start in. Raises Usage."""
    from interlock.cli.errors import Usage

    if not path:
        raise Usage(f"{option}: the path is empty")
    if not here:
        return path
    absolute = os.path.abspath(path)
    if is_there and not Path(absolute).exists():
        raise Usage(f"{option} {path[:200]}: there is no such file or folder")
    return absolute


def pair(text: str, mark: str, option: str) -> tuple[str, str]:
    """`NAME=VALUE`, or with whatever mark. Raises Usage."""
    from interlock.cli.errors import Usage

    name, found, value = text.partition(mark)
    if not found:
        raise Usage(f"{option} {text[:60]!r}: write NAME{mark}VALUE")
    return name.strip(), value.strip() if mark == ":" else value


def known(name: str, names: Collection[str]) -> None:
    """Raises Usage, with the nearest one, if it is none of them."""
    from difflib import get_close_matches

    from interlock.cli.errors import Usage

    if name not in names:
        near = get_close_matches(name, list(names), 1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(sorted(names))}"
        raise Usage(f"there is no {name[:60]!r}; {hint}")


def url(text: str, schemes: Collection[str]) -> "tuple[str, plane.Url]":
    """A URL as the plane takes it: people may write scheme and host in capitals, and leave out the path. The second is where
    its request goes. Raises Usage."""
    from interlock import plane
    from interlock.cli.errors import Usage

    scheme, found, rest = text.partition("://")
    authority = rest[: min((at for at in map(rest.find, "/?#") if at >= 0), default=len(rest))]
    target = rest.removeprefix(authority)
    whole = f"{scheme}://{authority}".lower() + (target if target.startswith("/") else f"/{target}")
    try:
        if not found or scheme.lower() not in schemes:
            raise ValueError(f"it begins with {' or '.join(f'{each}://' for each in schemes)}")
        if "#" in target:
            raise ValueError("what stands after a # is never sent: leave it out")
        if "@" in authority:
            raise ValueError("it names a user, and a URL is no place for credentials")
        if strange := next((mark for mark in text if not "!" <= mark <= "~"), None):
            raise ValueError(f"the character {strange!r} cannot stand in it as it is; percent-encode it")
        parse = plane.parse_websocket_url if "ws" in schemes else plane.parse_url
        return whole, parse(whole)
    except ValueError as error:
        raise Usage(f"URL {text[:200]!r}: {error}") from error
