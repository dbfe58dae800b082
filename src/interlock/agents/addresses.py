"""Which hosts a text leads to, read as the most generous of readers would: what is unclear is a host that nobody allows."""

import re
from collections.abc import Iterator
from typing import Final

DOMAIN: Final = r"^(\*\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$"
"""A host's name in lower case, or `*.` and what all below it end with."""

_BLANKS: Final = "".join(map(chr, range(33)))
_BEGINS: Final = r"(?:https?|wss?|ftp):[/\\]*|[a-z][a-z0-9+.-]{0,40}:[/\\]{2,}|(?<![^\s\"'(<=,])[/\\]{2,}"
_START: Final = re.compile(f"(?i){_BEGINS}")
_BREAKS: Final = re.compile(rf"(?i)[\t\r\n]++(?!{_BEGINS})")
_AUTHORITY: Final = re.compile(r"[^/\\?#\s\"'<>`{}|^]*")
_HOST: Final = re.compile(r"(?i)([a-z0-9._-]+)(?::[0-9]{1,5})?")
_WEB: Final = ("", "http:", "https:", "ws:", "wss:")


def unlisted(text: str, domains: tuple[str, ...], *, whole: bool = False) -> Iterator[str]:
    """What of the addresses in a text leads elsewhere than to these domains. `whole`: the text is one address, or a host."""
    # Browsers leave out breaks wherever they stand in an address, so a text that begins with one is read so, too.
    joined = _BREAKS.sub("", text.strip(_BLANKS).partition(" ")[0])
    if whole and not _START.match(joined):
        joined = f"//{joined}"
    for each in (text, joined) if _START.match(joined) else (text,):
        for found in _START.finditer(each):
            rest = _AUTHORITY.match(each, found.end())
            place = rest[0] if rest else ""
            if place and not _is_listed(found[0].rstrip("/\\").lower(), place, domains):
                yield f"{found[0]}{place}"[:200]


def _is_listed(scheme: str, place: str, domains: tuple[str, ...]) -> bool:
    """Somebody named before an `@`, an escape, or a letter of another alphabet make no host of ours."""
    known = _HOST.fullmatch(place.rstrip(".,;:!)"))
    if known is None or scheme not in _WEB:
        return False
    host = known[1].lower()
    return any(host.endswith(each[1:]) if each.startswith("*.") else host == each for each in domains)
