"""The bytes of a packet: whether they are one, and its parts."""

import re
from dataclasses import dataclass
from typing import Any, cast

import orjson

from interlock.kernel import canonical
from interlock.runs import packet
from interlock.runs.verdict import Problem, Status, Verdict

MAX_BYTES = 256 * 1024 * 1024
"""Longer texts are not looked at."""

_MEMBERS = {"contract": str, "events": list, "records": dict, "seal": dict}
_VERSIONED = "interlock.packet/v"
_OPENING = b'{"contract":"%b","events":[' % packet.CONTRACT.encode()
_FIRST = _OPENING + b'{"body":'
_BEFORE_RECORDS, _BEFORE_SEAL = b'],"records":{', b',"seal":{'
_GROUP = re.compile(
    rb'"(approvals|artifacts|attempts|capability|connection|decisions|head|keys|projection|run|sends)":[\[{]'
)
_HASH = re.compile(r"sha256:[0-9a-f]{64}")
_SEAM = re.compile(rb',"hash":"(sha256:[0-9a-f]{64})"\}(\]|,\{"body":)')


@dataclass(frozen=True, slots=True)
class Opened:
    """A packet's parts. Per event: its body, the exact bytes of that body, and the hash recorded beside it."""

    events: list[dict[str, Any]]
    bodies: list[bytes]
    hashes: list[str]
    records: dict[str, Any]
    seal: dict[str, Any]


def unpack(data: bytes) -> Opened | Verdict:
    """The parts of a packet, each of the right type, or the verdict on a text that is no packet of this version.

    Everything but the events' bodies is proven to be canonical. The bodies are proven by their hashes. One line feed after
    the end is no part of the packet: editors and shells add it, and it says nothing.
    """
    data = data.removesuffix(b"\n")
    if len(data) > MAX_BYTES:
        return _refused("packet", f"it has {len(data)} bytes; the limit is {MAX_BYTES}")
    return _cut(data) or _parse(data)


def _cut(data: bytes) -> Opened | None:
    """The quick way, for a sound packet: cut it at the seams between its events, so that their bytes need not be made
    again. It is right because JSON between the seams makes the whole JSON; what does not fit goes the long way."""
    bodies: list[bytes] = []
    hashes: list[str] = []
    start = len(_FIRST)
    for seam in _SEAM.finditer(data, start) if data.startswith(_FIRST) else ():
        bodies.append(data[start : seam.start()])
        hashes.append(seam[1].decode())
        start = seam.end()
        if seam[2] == b"]":
            break
    rest = b"{" + data[start + 1 :]
    try:
        events = [orjson.loads(body) for body in bodies]
        members: Any = orjson.loads(rest)
        sound = data[start : start + 1] == b"," and canonical(members) == rest
    except (orjson.JSONDecodeError, ValueError):
        return None
    if not sound or members.keys() != {"records", "seal"} or not all(type(event) is dict for event in events):
        return None
    records, seal = members["records"], members["seal"]
    return Opened(events, bodies, hashes, records, seal) if type(records) is type(seal) is dict else None


def _parse(data: bytes) -> Opened | Verdict:
    """The long way, which says what is wrong."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        return _not_json(data, error)
    contract = cast("dict[str, Any]", value).get("contract") if isinstance(value, dict) else None
    if contract != packet.CONTRACT:
        return _other_contract(contract)
    members = cast("dict[str, Any]", value)
    if members.keys() != _MEMBERS.keys() or not all(isinstance(members[name], kind) for name, kind in _MEMBERS.items()):
        return _refused("packet", f"its members are not {', '.join(_MEMBERS)}")
    links: list[Any] = members["events"]
    for place, link in enumerate(links, 1):
        if not _is_link(link):
            return _refused(f"event {place}", "it is not a body with its hash")
    if refusal := _not_canonical(data, members):
        return refusal
    events = [link["body"] for link in links]
    bodies = [canonical(event) for event in events]
    return Opened(events, bodies, [link["hash"] for link in links], members["records"], members["seal"])


def _is_link(link: Any) -> bool:
    return (
        isinstance(link, dict)
        and link.keys() == {"body", "hash"}
        and isinstance(link["body"], dict)
        and isinstance(link["hash"], str)
        and _HASH.fullmatch(link["hash"]) is not None
    )


def _other_contract(contract: Any) -> Verdict:
    version = contract.removeprefix(_VERSIONED) if isinstance(contract, str) else ""
    if version != contract and version.isdecimal() and int(version[:9]) > 1:
        what = f"it is of version {version[:9]}, and this Interlock reads version 1: use a newer Interlock"
        return Verdict(status=Status.NEWER_VERSION, problems=(Problem("contract", what),))
    return _refused("contract", f"it is {str(contract)[:60]!r}, not {packet.CONTRACT!r}")


def _not_canonical(data: bytes, members: dict[str, Any]) -> Verdict | None:
    # One value has one text: duplicate keys, another order, spaces and escapes would be room to show readers different
    # things under one signature.
    try:
        text = canonical(members)
    except ValueError as error:
        return _refused("packet", f"a value in it has no canonical form: {error}")
    if text == data:
        return None
    at = next((at for at, (is_, should) in enumerate(zip(data, text, strict=False)) if is_ != should), len(text))
    return _refused(_place(data, at), f"not canonical JSON (RFC 8785) at byte {at}")


def _not_json(data: bytes, error: orjson.JSONDecodeError) -> Verdict:
    try:
        data.decode()
        at = len(error.doc[: error.pos].encode())
    except UnicodeDecodeError as not_text:
        at = not_text.start
    if data.startswith(_OPENING) and not data.endswith(b'"}}'):
        return _refused(_place(data, len(data)), f"cut short, or damaged at its end, after {len(data)} bytes")
    return _refused(_place(data, at), f"not JSON at byte {at}: {error.msg}")


def _place(data: bytes, at: int) -> str:
    """Which part a byte stands in, as far as a damaged text still shows it."""
    if not data.startswith(_OPENING):
        return "packet"
    if 0 <= data.rfind(_BEFORE_SEAL) < at:
        return "seal"
    records = data.rfind(_BEFORE_RECORDS, 0, at)
    if records >= 0:
        groups = _GROUP.findall(data, records, at)
        return groups[-1].decode() if groups else "records"
    return f"event {sum(1 for _ in _SEAM.finditer(data, 0, at)) + 1}"


def _refused(where: str, what: str) -> Verdict:
    return Verdict(status=Status.MALFORMED, problems=(Problem(where, what),))
