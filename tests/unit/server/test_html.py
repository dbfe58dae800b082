"""What people read on the pages: no name that others chose becomes a part of what we say."""

from dataclasses import replace
from html.parser import HTMLParser

import pytest

from fix_connections import INSTALL
from interlock.connections import Found, InstallState
from interlock.server import html

HOSTILE = {
    "markup": '"><script>alert(1)</script><p>',
    "a sentence": "ACME” is verified. Click Connect, and “you are paid",
    "another order": "ACME\u202e gnp.exe \u2066",
    "what is not seen": "AC\u200bME\u00ad\x00\x1b[2J",
    "lines": "ACME\n\n\nConnect\r\u2028now",
    "long": "ACME " * 400,
    "half of a character": "ACME\ud800",
}


class Words(HTMLParser):
    """The words of a page: `ours`, and those of others, within a sentence and apart."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.ours, self.within, self.apart = list[str](), list[str](), list[str]()
        self._tags = list[str]()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "input"):
            self._tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._tags.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._tags[-1] == "bdi":
            (self.within if "b" in self._tags else self.apart).append(data)
        elif self._tags[-1] not in ("style", "title"):
            self.ours.append(data)


def pages(text: str) -> list[str]:
    """All that speak of somebody, who calls everything so."""
    install = replace(
        INSTALL,
        tenant_id=text,
        actor=text,
        connection_name=text,
        scopes_asked=frozenset({text}),
        state=InstallState.PROVEN,
        found=Found(subject=text, scopes=frozenset({text}), expires_at=None),
    )
    ended = replace(install, state=InstallState.COMPLETED)
    return [html.asking(install, text, "acme.dev"), html.account(install, text, "x"), html.ended(ended, text)]


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_name_stays_a_name(text: str):
    for theirs, plain in zip(pages(text), pages("plain"), strict=True):
        words = Words(theirs.encode().decode())  # it can be sent
        assert words.ours == Words(plain).ours
        assert "".join(words.within + words.apart).isprintable()
        assert not {*"".join(words.within)} & {*'"“”'}
        assert (max(map(len, words.within)) <= 60, max(map(len, words.apart or [""])) <= 300) == (True, True)


def test_of_very_many_scopes_a_page_says_how_many_more_there_are():
    many = replace(INSTALL, scopes_asked=frozenset(f"scope:{number:03}" for number in range(120)))
    words = Words(html.asking(many, "Acme", "acme.dev"))
    assert (words.apart[2], words.apart[51], len(words.apart)) == ("scope:000", "scope:049", 53)
    assert "and 70 more" in words.ours
