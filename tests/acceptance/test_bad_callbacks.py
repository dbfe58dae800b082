"""Callbacks that are forged, replayed, swapped, late or somebody else's, as they reach `interlock serve` and the callback of
`interlock connect`: over sockets, and with nothing but the command beside them. What each rule refuses, and why, is in
`integration/test_installs.py`."""

import shutil
import socket
import sqlite3
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import httpx2
import pytest

import token_server
from fix_cli import Shell
from fix_consent import CLIENT, Person, declare, person, waiting
from interlock import sdk
from interlock.testing import github

pytestmark = pytest.mark.faults
MARKUP = '"><script>alert(1)</script>'
TENANTS = count(1)


@dataclass
class Town:
    """The pages, the service, two tenants who know nothing of each other, and a browser for each."""

    shell: Shell
    service: token_server.TokenServer
    url: str
    victim: Person
    attacker: Person
    ours: str = field(default_factory=lambda: f"ours-{next(TENANTS)}")
    theirs: str = field(default_factory=lambda: f"theirs-{next(TENANTS)}")

    def link(self, tenant: str | None = None, name: str = "work") -> str:
        made = self.shell.good("connect", "acme", "--link", "--name", name, environment=_of(tenant or self.ours))
        return made["url"]

    def connected(self, tenant: str | None = None) -> list[str]:
        told = self.shell.good("connections", "list", environment=_of(tenant or self.ours))
        return [each["name"] for each in told["connections"]]

    def joins(self, location: str) -> None:
        """It was the callback's own person, and nobody has spoilt it for them."""
        assert "is connected" in self.victim.answer(self.victim.come_back(location)).text
        assert self.connected() == ["work"]
        assert self.connected(self.theirs) == []


def _of(tenant: str) -> dict[str, str]:
    return {"INTERLOCK_TENANT": tenant}


@pytest.fixture(scope="module")
def serving(
    running_token_server: token_server.TokenServer,
    service: github.GitHub,
    set_up: Path,
    warm: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Shell, str]]:
    """One server for all of them. It says what the operator may have to mend, in words of ours, and nothing else."""
    shell = Shell(tmp_path_factory.mktemp("serving"), service)
    shutil.copytree(set_up, shell.folder, dirs_exist_ok=True)
    url = running_token_server.url
    draft = sdk.oauth2(authorize_url="/authorize", token_url="/token", issuer=url, iss_required=True, base_url=url,
                       probe=sdk.probe("/me", subject="/login"), scopes=["read"])  # fmt: skip
    declare(shell, url, [draft], client=CLIENT)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        own = f"http://127.0.0.1:{free.getsockname()[1]}"
    shell.environment["INTERLOCK_CONNECT__URL"] = own
    with shell.start("serve", program=warm / "interlock") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"{own}\n"
        yield shell, own
        process.terminate()
        out, err = process.communicate()
        assert out == ""
        for line in err.splitlines():
            assert line.startswith("warning: acme was not connected: it was asked for in a wrong way: ")
            assert line.endswith(" is set up wrongly")


@pytest.fixture
def town(serving: tuple[Shell, str], server: token_server.TokenServer) -> Generator[Town]:
    shell, url = serving
    server.redirect_uri = f"{url}/oauth/callback"
    with person() as victim, person() as attacker:
        yield Town(shell, server, url, victim, attacker)


def changed(location: str, **parameters: str | None) -> str:
    """The address with other parameters; None leaves one out."""
    url = urlsplit(location)
    told = {**dict(parse_qsl(url.query)), **parameters}
    return urlunsplit(url._replace(query=urlencode({name: text for name, text in told.items() if text is not None})))


def told(location: str, name: str) -> str:
    return dict(parse_qsl(urlsplit(location).query))[name]


def test_a_forged_callback_is_nobodys_and_spoils_nothing(town: Town):
    location = town.victim.leave(town.link())
    state = told(location, "state")
    forged = [changed(location, state=each) for each in (state[:-1], f"{state}A", state.swapcase(), MARKUP, "", None)]
    forged += [
        f"{location}&state={state}",
        f"{location}&code=other",
        f"{location}&x={'y' * 20_000}",
        f"{location}&%ff=1",
    ]
    forged += [changed(location, code=None), f"{town.url}/oauth/callback"]
    pages = [town.victim.come_back(each) for each in forged]
    assert [each.status_code for each in pages] == [404] * 4 + [400] * 8
    assert not [each for each in pages if MARKUP in each.text or state in each.text or "code-" in each.text]
    assert town.service.calls == {}
    town.joins(location)


def test_a_replayed_callback_sends_no_code_again(town: Town):
    location = town.victim.leave(link := town.link())
    with ThreadPoolExecutor(4) as together:
        found = [*together.map(town.victim.come_back, [location] * 4)]
    assert sorted(each.status_code for each in found) == [200, 409, 409, 409]
    asked = next(each for each in found if each.status_code == 200)
    assert [town.victim.browser.post(link).status_code, town.attacker.come_back(location).status_code] == [409, 409]
    assert "is connected" in town.victim.answer(asked).text
    assert [town.victim.come_back(each).status_code for each in (location, link)] == [410, 410]
    assert town.service.calls == {"authorization_code": 1}


def test_a_swapped_code_becomes_nothing(town: Town):
    """The attacker's code with the victim's state, in the victim's browser: it was asked for with another verifier."""
    theirs, ours = town.attacker.leave(town.link(town.theirs)), town.victim.leave(town.link())
    last = town.victim.come_back(changed(ours, code=told(theirs, "code")))
    assert (last.status_code, "does not accept what it was asked with" in last.text) == (400, True)
    assert (town.connected(), town.connected(town.theirs)) == ([], [])


def test_a_state_of_another_tenant_leads_to_no_account(town: Town):
    """The other way round: the victim's code, which the attacker's install would redeem."""
    theirs, ours = town.attacker.leave(town.link(town.theirs)), town.victim.leave(town.link())
    swapped = changed(ours, state=told(theirs, "state"))
    assert [each.come_back(swapped).status_code for each in (town.victim, town.attacker)] == [400, 400]
    assert (town.connected(), town.connected(town.theirs)) == ([], [])
    assert town.service.calls == {"authorization_code": 1}


def test_a_victim_joins_no_tenant_of_an_attacker(town: Town):
    """Led to the attacker's callback, or to their question, without a cookie and with one."""
    theirs = town.attacker.leave(town.link(town.theirs))
    assert town.victim.come_back(theirs).status_code == 400
    ours = town.victim.leave(town.link())
    assert town.victim.come_back(theirs).status_code == 400
    question = town.attacker.come_back(theirs)
    assert town.victim.come_back(str(question.url)).status_code == 404
    assert town.victim.browser.post(question.url, data={"answer": "join", "proof": "sha256:0"}).status_code == 404
    assert town.connected(town.theirs) == []
    town.joins(ours)


def test_a_victim_who_follows_an_attackers_link_sees_whose_it_is(town: Town):
    link = town.link(town.theirs)
    assert f"<bdi>{town.theirs}</bdi>" in town.victim.browser.get(link).text
    question = town.victim.come_back(town.victim.leave(link))
    assert f"Let <b>“<bdi>{town.theirs}</bdi>”</b> use <b>“<bdi>octo</bdi>”</b>" in question.text
    assert "Nothing was connected" in town.victim.answer(question, "cancel").text
    assert (town.connected(), town.connected(town.theirs)) == ([], [])


def test_a_late_callback_sends_no_code(town: Town):
    location = town.victim.leave(link := town.link())
    with closing(sqlite3.connect(town.shell.store)) as store, store:  # as if ten minutes had gone by
        store.execute("update installs set expires_at = created_at where tenant_id = ?", [town.ours])
    assert [town.victim.come_back(each).status_code for each in (location, link)] == [410, 410]
    assert (town.connected(), town.service.calls) == ([], {})


@pytest.mark.parametrize("issuer", ["https://evil.dev", "{url}/", "{url}:", None])
def test_another_issuers_callback_ends_it_and_the_code_stays_here(town: Town, issuer: str | None):
    """A service that we asked, whose answer says that it comes from another, and one that leaves it out (RFC 9207)."""
    said = None if issuer is None else issuer.format(url=town.service.url)
    location = changed(town.victim.leave(town.link()), iss=said)
    last = town.victim.come_back(location)
    assert (last.status_code, "somebody else than the service" in last.text) == (400, True)
    assert (town.connected(), town.service.calls) == ([], {})


def test_an_address_off_by_a_character_takes_no_callback(town: Town, warm: Path):
    location = town.victim.leave(town.link())
    path = "/oauth/callback"
    for other, status in (
        ("/oauth/callback/", 404),
        ("//oauth/callback", 404),
        ("/oauth/callbacK", 404),
        (f"{path}%20", 404),
    ):
        assert town.victim.come_back(location.replace(path, other)).status_code == status, other
    # Another name for the same server, which is not the one that was asked for.
    elsewhere = httpx2.get(location, headers={"host": town.url.replace("http://127.0.0.1", "localhost")})
    assert elsewhere.status_code == 421
    # Another server on the same store: a browser shows its cookies at every port of a host.
    with waiting(
        town.shell, "connect", "acme", "--name", "other", "--no-browser", program=warm / "interlock"
    ) as command:
        origin = command.told("open").partition("/connect/")[0]
        misled = town.victim.come_back(location.replace(town.url, origin))
    assert (misled.status_code, "does not belong together" in misled.text) == (400, True)
    assert town.service.calls == {}
    town.joins(location)


@pytest.mark.parametrize(
    "words",
    [
        {"error": "access_denied", "error_description": MARKUP, "error_uri": f"javascript:{MARKUP}"},
        {"error": MARKUP},
        {"code": MARKUP},
    ],
)
def test_what_a_callback_says_in_words_is_nowhere(town: Town, words: dict[str, str]):
    location = town.victim.leave(town.link())
    last = town.victim.come_back(changed(location, **{"code": None, **words}))
    assert last.status_code == 400
    assert "Nothing was connected" in last.text
    assert "alert(1)" not in last.text + repr(last.headers) + _dump(town.shell)


def _dump(shell: Shell) -> str:
    """All that the store holds."""
    with closing(sqlite3.connect(shell.store)) as store:
        return "\n".join(store.iterdump())


@pytest.mark.parametrize(
    "refusal",
    [
        (400, b'{"error": "invalid_grant", "error_description": "<script>alert(1)</script>"}'),
        (200, b'{"error": "<script>alert(1)</script>"}'),
        (200, b"<!doctype html><script>alert(1)</script>"),
    ],
)
def test_what_a_token_endpoint_says_in_words_is_nowhere(town: Town, refusal: tuple[int, bytes]):
    town.service.refusal = refusal
    last = town.victim.come_back(town.victim.leave(town.link()))
    assert (last.status_code, "Nothing was connected" in last.text) == (400, True)
    assert "alert(1)" not in last.text + _dump(town.shell)
    assert town.connected() == []


def test_an_account_called_by_markup_is_a_name(town: Town):
    town.service.subject = MARKUP
    asked = town.victim.come_back(town.victim.leave(town.link()))
    pages = [asked.text, town.victim.answer(asked).text]
    assert not [each for each in pages if "<script" in each]
    assert all("&gt;&lt;script&gt;" in each for each in pages)


def test_strangers_neither_end_a_command_that_waits_nor_hear_of_it(town: Town, warm: Path):
    """The callback of `interlock connect` stands open to every program and page of this machine."""
    arguments = ("connect", "acme", "--no-browser", "--json")
    with waiting(town.shell, *arguments, program=warm / "interlock") as command:
        link = command.told("open")
        origin = link.partition("/connect/")[0]
        town.service.redirect_uri = f"{origin}/oauth/callback"
        location = town.victim.leave(link)
        for each in (changed(location, state="x" * 43), changed(location, code=None, error="access_denied"), location):
            assert town.attacker.come_back(each).status_code in (400, 404)
        assert town.service.calls == {}
        last = town.victim.come_back(changed(location, iss="https://evil.dev", code=MARKUP))
        assert last.status_code == 400
        ended = command.end()
    assert (ended.code, ended.error["details"]) == (1, {"reason": "issuer_mismatch"})
    assert "evil" not in ended.out + ended.err
    assert town.service.calls == {}
