"""The test authorization server is strict, and our engine gets on with it."""

import base64
import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2
import pytest

from auth_server import CLIENT, PUBLIC, AuthServer, Client, Fault, faults
from interlock import testing

BASIC = httpx2.BasicAuth("client-1", "shh-client-secret%2B0123456789%2F")
REDIRECT = "http://127.0.0.1:7777/callback"
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()


class Browser:
    """A client that does what a test says, and nothing else."""

    def __init__(self, server: AuthServer) -> None:
        self.http = httpx2.Client(base_url=server.url, timeout=10)

    def agree(self, **changed: str | None) -> dict[str, str]:
        """Ask for a code; what comes back in the address."""
        asked = {
            "response_type": "code", "client_id": CLIENT.client_id, "redirect_uri": REDIRECT, "state": "s1", "scope": "read",
            "code_challenge": CHALLENGE, "code_challenge_method": "S256", **changed,
        }  # fmt: skip
        told = self.http.get("/authorize", params={name: text for name, text in asked.items() if text is not None})
        if told.status_code != 302:
            return told.json()
        assert told.headers["location"].startswith(f"{REDIRECT}?")
        return dict(parse_qsl(urlsplit(told.headers["location"]).query))

    def token(self, auth: Any = BASIC, **form: str | None) -> dict[str, Any]:
        given = {name: text for name, text in form.items() if text is not None}
        return self.http.post("/token", data=given, auth=auth).json()

    def redeem(self, code: str, /, **changed: str | None) -> dict[str, Any]:
        form: dict[str, str | None] = {"code": code, "redirect_uri": REDIRECT, "code_verifier": VERIFIER}
        return self.token(grant_type="authorization_code", **{**form, **changed})

    def refresh(self, token: str) -> dict[str, Any]:
        return self.token(grant_type="refresh_token", refresh_token=token)

    def me(self, token: str) -> httpx2.Response:
        return self.http.get("/me", headers={"authorization": f"Bearer {token}"})


@pytest.fixture
def browser(auth_server: AuthServer) -> Iterator[Browser]:
    made = Browser(auth_server)
    with made.http:
        yield made


def test_a_code_becomes_tokens_that_open_the_service(auth_server: AuthServer, browser: Browser):
    told = browser.agree()
    assert (told["state"], told["iss"]) == ("s1", auth_server.url)
    tokens = browser.redeem(told["code"])
    assert tokens["scope"] == "read"
    assert tokens["expires_in"] == 3600
    me = browser.me(tokens["access_token"])
    assert (me.json(), me.headers["x-oauth-scopes"]) == ({"login": "octo-agent"}, "read")
    assert {told["code"], tokens["access_token"], tokens["refresh_token"]} == set(auth_server.books.issued)
    assert auth_server.calls == {"authorize": 1, "token": 1, "token authorization_code": 1, "me": 1}


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"redirect_uri": REDIRECT + "/"}, "invalid_request"),
        ({"redirect_uri": REDIRECT.upper()}, "invalid_request"),
        ({"redirect_uri": None}, "invalid_request"),
        ({"client_id": "client-2"}, "invalid_client"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"scope": "read admin"}, "invalid_scope"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"resource": "http://elsewhere/mcp"}, "invalid_target"),
    ],
)
def test_a_request_for_a_code_is_read_strictly(browser: Browser, changed: dict[str, str | None], error: str):
    told = browser.agree(**changed)
    assert told["error"] == error
    assert "code" not in told


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"redirect_uri": REDIRECT + "x"}, "invalid_grant"),
        ({"redirect_uri": None}, "invalid_grant"),
        ({"code_verifier": "w" * 43}, "invalid_grant"),
        ({"code_verifier": None}, "invalid_request"),
        ({"code": "another"}, "invalid_grant"),
        ({"resource": "http://elsewhere/mcp"}, "invalid_target"),
        ({"client_secret": CLIENT.client_secret}, "invalid_request"),
    ],
)
def test_a_code_is_redeemed_by_who_asked_for_it(browser: Browser, changed: dict[str, str | None], error: str):
    assert browser.redeem(browser.agree()["code"], **changed)["error"] == error


def test_a_code_used_twice_ends_what_came_of_it(auth_server: AuthServer, browser: Browser):
    code = browser.agree()["code"]
    tokens = browser.redeem(code)
    assert browser.redeem(code)["error"] == "invalid_grant"
    assert browser.me(tokens["access_token"]).status_code == 401
    assert list(auth_server.books.families_ended.values()) == ["code used twice"]


def test_a_code_lives_a_minute_and_a_token_as_long_as_it_says(auth_server: AuthServer, browser: Browser):
    code, late = browser.agree()["code"], browser.agree()["code"]
    token = browser.redeem(code)["access_token"]
    assert isinstance(auth_server.clock, testing.ManualClock)
    auth_server.clock.advance(60)
    assert browser.redeem(late)["error"] == "invalid_grant"
    auth_server.clock.advance(3540)
    assert browser.me(token).status_code == 401


def test_the_person_may_say_no_also_on_a_page(auth_server: AuthServer, browser: Browser):
    auth_server.books.denies = True
    assert browser.agree() == {
        "error": "access_denied", "state": "s1", "iss": auth_server.url,
        "error_description": "The resource owner or authorization server denied the request",
    }  # fmt: skip
    auth_server.books.asks = True
    asked = {
        "response_type": "code", "client_id": PUBLIC.client_id, "redirect_uri": REDIRECT,
        "code_challenge": CHALLENGE, "code_challenge_method": "S256",
    }  # fmt: skip
    assert "Allow" in browser.http.get("/authorize", params=asked).text
    told = {yes: browser.http.post("/authorize", params=asked, data={"answer": yes}) for yes in ("yes", "no")}
    assert ["code=" in told[yes].headers["location"] for yes in ("yes", "no")] == [True, False]


def test_refresh_tokens_rotate_and_reuse_ends_the_family(auth_server: AuthServer, browser: Browser):
    first = browser.redeem(browser.agree()["code"])
    second = browser.refresh(first["refresh_token"])
    assert second["refresh_token"] != first["refresh_token"]
    assert browser.refresh(first["refresh_token"])["error"] == "invalid_grant"
    assert browser.refresh(second["refresh_token"])["error"] == "invalid_grant"
    assert browser.me(second["access_token"]).status_code == 401
    assert list(auth_server.books.families_ended.values()) == ["refresh token used twice"]


def test_reuse_is_forgiven_for_a_while_and_rotation_can_be_off(auth_server: AuthServer, browser: Browser):
    auth_server.books.reuse_grace = 30
    first = browser.redeem(browser.agree()["code"])
    assert all("access_token" in browser.refresh(first["refresh_token"]) for _ in range(2))
    auth_server.books.rotates = False
    other = browser.redeem(browser.agree()["code"])
    assert all("refresh_token" not in browser.refresh(other["refresh_token"]) for _ in range(2))
    assert auth_server.books.families_ended == {}


def test_of_sixteen_who_refresh_at_once_one_is_served(auth_server: AuthServer, browser: Browser):
    first = browser.redeem(browser.agree()["code"])
    with ThreadPoolExecutor(16) as workers:
        told = list(workers.map(browser.refresh, [first["refresh_token"]] * 16))
    assert sum("access_token" in each for each in told) == 1
    assert auth_server.calls["token refresh_token"] == 16


def test_a_client_acts_for_itself(browser: Browser):
    tokens = browser.token(grant_type="client_credentials", scope="write")
    assert "refresh_token" not in tokens
    assert browser.me(tokens["access_token"]).json() == {"login": "client-1"}
    public = browser.token(auth=None, grant_type="client_credentials", client_id=PUBLIC.client_id)
    assert public["error"] == "invalid_client"
    wrong = browser.token(auth=httpx2.BasicAuth("client-1", "wrong"), grant_type="client_credentials")
    assert wrong["error"] == "invalid_client"


def test_a_client_shows_itself_as_it_is_registered(auth_server: AuthServer, browser: Browser):
    shown = {"client_id": CLIENT.client_id, "client_secret": CLIENT.client_secret}
    assert browser.token(auth=None, grant_type="client_credentials", **shown)["error"] == "invalid_client"
    auth_server.books.clients["client-1"].auth_method = "client_secret_post"
    assert "access_token" in browser.token(auth=None, grant_type="client_credentials", **shown)
    assert browser.token(grant_type="client_credentials")["error"] == "invalid_client"


def test_a_device_waits_for_its_person(auth_server: AuthServer, browser: Browser):
    clock = auth_server.clock
    assert isinstance(clock, testing.ManualClock)
    begun = browser.http.post("/device", data={"client_id": PUBLIC.client_id, "scope": "read"}).json()
    asked = {"client_id": PUBLIC.client_id, "device_code": begun["device_code"]}
    kind = "urn:ietf:params:oauth:grant-type:device_code"

    def poll() -> dict[str, Any]:
        return browser.token(auth=None, grant_type=kind, **asked)

    assert poll()["error"] == "authorization_pending"
    assert poll()["error"] == "slow_down"
    clock.advance(10)
    assert poll()["error"] == "authorization_pending"
    typed = {"user_code": begun["user_code"], "answer": "yes"}
    assert browser.http.post("/activate", data=typed).text == "Thank you."
    assert poll()["scope"] == "read"
    assert poll()["error"] == "invalid_grant"

    again = browser.http.post("/device", data={"client_id": PUBLIC.client_id}).json()
    asked["device_code"] = again["device_code"]
    auth_server.books.answer_device(again["user_code"], allowed=False)
    assert poll()["error"] == "access_denied"
    clock.advance(901)
    assert poll()["error"] == "expired_token"


def test_tokens_are_looked_at_and_ended_by_their_client(auth_server: AuthServer, browser: Browser):
    tokens = browser.redeem(browser.agree()["code"])
    other = auth_server.books.clients["other"] = Client("other", "other-secret")

    def ask(path: str, token: str, auth: Any = BASIC) -> tuple[int, dict[str, Any]]:
        told = browser.http.post(path, data={"token": token}, auth=auth)
        return told.status_code, told.json()

    stranger = httpx2.BasicAuth("other", str(other.client_secret))
    active = ask("/introspect", tokens["access_token"])[1]
    assert (active["active"], active["sub"], active["scope"]) == (True, "octo-agent", "read")
    assert ask("/introspect", tokens["access_token"], stranger) == (200, {"active": False})
    assert ask("/revoke", tokens["access_token"], stranger)[1]["error"] == "invalid_grant"
    assert ask("/revoke", tokens["access_token"], None)[1]["error"] == "invalid_client"
    assert ask("/revoke", tokens["access_token"]) == (200, {})
    assert ask("/introspect", tokens["access_token"]) == (200, {"active": False})
    renewed = browser.refresh(tokens["refresh_token"])
    assert ask("/revoke", renewed["refresh_token"]) == (200, {})
    assert browser.refresh(renewed["refresh_token"])["error"] == "invalid_grant"
    assert ask("/revoke", "unknown") == (200, {})


def test_a_registered_client_has_the_redirect_uri_that_it_named(browser: Browser):
    asked = {"redirect_uris": ["http://127.0.0.1:9/cb"], "client_name": "x", "token_endpoint_auth_method": "none"}
    told = browser.http.post("/register", json=asked)
    client_id = told.json()["client_id"]
    assert (told.status_code, "client_secret" in told.json()) == (201, False)
    assert browser.agree(client_id=client_id)["error"] == "invalid_request"
    assert "client_secret" in browser.http.post("/register", json={"redirect_uris": ["https://a.dev/cb"]}).json()
    bad = browser.http.post("/register", json={**asked, "redirect_uris": ["not an address"]})
    assert (bad.status_code, bad.json()["error"]) == (400, "invalid_client_metadata")


SPOILT: list[tuple[Fault, str]] = [
    (faults.AS_FORM, "application/x-www-form-urlencoded"),
    (faults.EXPIRY_AS_TEXT, '"expires_in": "3600"'),
    (faults.NESTED, '{"ok": true, "authed_user": {'),
    (faults.HTML, "Welcome back"),
    (faults.CRASH, "500"),
    (faults.UNAVAILABLE, "retry-after"),
    (faults.says(418, {"error": "odd"}), "odd"),
]


@pytest.mark.parametrize(("fault", "seen"), SPOILT)
def test_an_answer_can_be_odd_once(auth_server: AuthServer, browser: Browser, fault: Fault, seen: str):
    auth_server.fail("token", fault)
    told = browser.http.post("/token", data={"grant_type": "client_credentials"}, auth=BASIC)
    assert seen in f"{told.status_code} {told.headers} {told.text}"
    assert "access_token" in browser.token(grant_type="client_credentials")


def test_an_answer_can_lack_what_it_should_hold(auth_server: AuthServer, browser: Browser):
    auth_server.fail("token", faults.WITHOUT_REFRESH_TOKEN, faults.WITHOUT_EXPIRY, faults.ERROR_AS_200)
    assert "refresh_token" not in browser.redeem(browser.agree()["code"])
    assert "expires_in" not in browser.redeem(browser.agree()["code"])
    told = browser.http.post("/token", data={"grant_type": "authorization_code", "code": "none"}, auth=BASIC)
    assert (told.status_code, told.json()["error"]) == (200, "invalid_grant")


def test_an_answer_can_stay_away_with_the_work_done_or_not(auth_server: AuthServer, browser: Browser):
    first = browser.redeem(browser.agree()["code"])
    auth_server.fail("token refresh_token", faults.CUT, faults.CUT_WHEN_DONE)
    for used in (False, True):
        with pytest.raises(httpx2.TransportError):
            browser.refresh(first["refresh_token"])
        assert (auth_server.books.tokens[0].replaced_at is not None) is used


@pytest.mark.parametrize("fault", [faults.HANG, faults.HANG_WHEN_DONE, faults.TRICKLE, faults.CUT_HALF_WAY])
def test_an_answer_can_be_slow_or_half(auth_server: AuthServer, browser: Browser, fault: Fault):
    auth_server.keep_failing("token", fault)
    with pytest.raises(httpx2.TransportError), httpx2.Client(base_url=auth_server.url, timeout=0.1) as client:
        client.post("/token", data={"grant_type": "client_credentials"}, auth=BASIC)
    auth_server.keep_failing("token", None)
    assert "access_token" in browser.token(grant_type="client_credentials")
    assert len(auth_server.books.tokens) == 1 + fault.done
