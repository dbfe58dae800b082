"""The pages on which a person connects an account: who may see what, and what a browser is told to keep to itself."""

import logging
import threading
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import pytest

import auth_server as auth
import token_server
from fix_pages import ORIGIN, Place, opened
from interlock import connections, sdk
from interlock.kernel import Caller

pytestmark = pytest.mark.anyio


async def test_both_pages_name_the_tenant_and_the_second_the_account(place: Place):
    browser, link = place.browser(), await place.link(name="work")
    asked = await browser.get(link)
    host = urlsplit(place.service.url).netloc
    for words in ("Ann &amp; &lt;b&gt;Co&lt;/b&gt;", "work", "ann", "repo", "Acme", host):
        assert f"<bdi>{words}</bdi>" in asked.text
    place.service.subject = "octo<script>"
    back = await browser.get(await place.go(browser, link))
    for words in ("Ann &amp; &lt;b&gt;Co&lt;/b&gt;", "octo&lt;script&gt;"):
        assert f"<bdi>{words}</bdi>" in back.text
    assert "code" not in str(back.url)
    assert "state" not in str(back.url)
    assert await place.connected() == []
    assert "is connected" in (await place.agree(browser, back)).text
    assert await place.connected() == ["work"]
    assert await place.connected(Caller(tenant_id="default", actor="ann")) == []
    assert "is connected" in (await browser.get(back.url)).text
    assert "is connected" in (await place.agree(browser, back)).text  # pressed twice


async def test_who_says_no_connects_nothing(place: Place):
    browser = place.browser()
    back = await browser.get(await place.go(browser, await place.link()))
    assert "It was cancelled" in (await place.agree(browser, back, "cancel")).text
    assert await place.connected() == []


async def test_a_page_is_kept_from_frames_scripts_caches_and_referrers(place: Place):
    browser, link = place.browser(), await place.link()
    pages = [await browser.get(link), await browser.get("/nothing")]
    location = await place.go(browser, link)
    back = await browser.get(location)
    pages += [*back.history, back, await browser.get(location), await place.agree(browser, back)]
    assert [each.status_code for each in pages] == [200, 404, 303, 200, 409, 200]
    for each in pages:
        policy = each.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        assert policy.endswith("; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
        assert (each.headers["referrer-policy"], each.headers["cache-control"]) == ("no-referrer", "no-store")
        assert each.headers["x-content-type-options"] == "nosniff"
        assert "<script" not in each.text


@pytest.mark.parametrize("origin", [ORIGIN, "https://connect.example"])
async def test_the_cookie_stays_in_the_browser_and_with_the_site(
    running_token_server: token_server.TokenServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, origin: str
):
    async with opened(running_token_server, tmp_path, monkeypatch, origin) as place:
        set_cookie = (await place.browser(origin).post(await place.link())).headers["set-cookie"]
    name, *attributes = set_cookie.split("; ")
    assert attributes[:4] == ["Path=/", "Max-Age=3600", "HttpOnly", "SameSite=Lax"]
    secure = origin.startswith("https")
    assert (attributes[4:], name.startswith("__Host-")) == (["Secure"] if secure else [], secure)


async def test_a_callback_counts_only_in_the_browser_that_began(place: Place):
    """A victim who is led to another person's callback, or to their question, joins nothing."""
    attacker, victim = place.browser(), place.browser()
    location = await place.go(attacker, await place.link())
    assert (await victim.get(location)).status_code == 400
    await place.go(victim, await place.link(name="own"))  # now the victim has a cookie, too
    assert (await victim.get(location)).status_code == 400
    back = await attacker.get(location)
    assert (await victim.get(back.url)).status_code == 404
    assert (await place.agree(victim, back)).status_code == 404
    assert await place.connected() == []
    await place.agree(attacker, back)
    assert await place.connected() == ["acme"]


async def test_only_the_page_itself_can_answer_its_question(place: Place):
    """Another site that sends the form has neither the proof nor, with SameSite, the cookie."""
    browser = place.browser()
    back = await browser.get(await place.go(browser, await place.link()))
    for form in ({"answer": "join"}, {"answer": "join", "proof": "sha256:0"}):
        assert (await browser.post(back.url, data=form)).status_code == 400
    assert await place.connected() == []
    assert "is connected" in (await place.agree(browser, back)).text


async def test_two_tabs_of_one_browser_each_connect(place: Place):
    browser, links = place.browser(), [await place.link(name="one"), await place.link(name="two")]
    locations = [await place.go(browser, link) for link in links]
    for location in locations:
        await place.agree(browser, await browser.get(location))
    assert sorted(await place.connected()) == ["one", "two"]


async def test_a_link_counts_once_and_for_ten_minutes(place: Place):
    browser, used, late = place.browser(), await place.link(), await place.link(name="late")
    await place.go(browser, used)
    assert [(await browser.get(used)).status_code, (await browser.post(used)).status_code] == [409, 409]
    location = await place.go(browser, await place.link(name="slow"))
    place.clock.advance(601)
    assert [(await browser.get(each)).status_code for each in (late, location)] == [410, 410]
    assert (await browser.get("/connect/unknown")).status_code == 404
    assert await place.connected() == []


async def test_what_the_service_says_is_mapped_and_not_repeated(place: Place, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    place.service.denies = "access_denied"
    browser = place.browser()
    told = await browser.get(await place.go(browser, await place.link()))
    assert told.status_code == 400
    assert "access was denied" in told.text
    assert "own words" not in told.text + caplog.text


async def test_the_operator_hears_what_only_they_can_mend(
    place: Place, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    link = await place.link()
    monkeypatch.delenv("ACME_SECRET")
    told = await place.browser().post(link)
    assert (told.status_code, "ACME_SECRET" in told.text) == (500, False)
    (line,) = [each.getMessage() for each in caplog.records if each.name.startswith("interlock")]
    assert "the variable ACME_SECRET is empty or not set" in line
    assert "Set the variable" in line


async def test_no_link_code_or_state_is_logged(place: Place, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    browser, link = place.browser(), await place.link()
    location = await place.go(browser, link)
    await place.agree(browser, await browser.get(location))
    told = "".join(
        each.getMessage() for each in caplog.records if not each.name.startswith("http")
    )  # but for this browser's
    secrets = [link.rpartition("/")[2], *(pair.partition("=")[2] for pair in urlsplit(location).query.split("&")[:2])]
    assert not [each for each in secrets if each in told]


async def test_another_name_for_the_server_is_refused_but_for_its_health(place: Place):
    """A name that an attacker lets lead to this machine is not ours."""
    stranger = place.browser("http://attacker.example:8412")
    link = await place.link()
    assert (await stranger.get(link.replace(ORIGIN, ""))).status_code == 421
    assert (await stranger.get("/healthz")).status_code == 204


async def test_what_is_not_there_is_a_page_too(place: Place):
    browser = place.browser()
    told = [await browser.get("/"), await browser.get("/connect/account/ins_1"), await browser.put("/healthz")]
    told += [await browser.get("/oauth/callback"), await browser.get("/oauth/callback?state=x&code=y")]
    assert [each.status_code for each in told] == [404, 404, 405, 400, 404]
    assert all("<main>" in each.text for each in told)
    assert (await browser.get("/healthz", headers={"x": "y" * 40_000})).status_code == 413


async def test_a_link_for_a_device_opens_no_browser(place: Place):
    begun = await place.il.connections.installs.begin("acme", profile="device")
    assert (await place.browser().get(place.pages.address(begun.link))).status_code == 400


async def test_an_mcp_server_is_connected_on_the_pages(
    running_token_server: token_server.TokenServer,
    auth_server: auth.AuthServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    """Who will ask the person is known only when the server was asked, so the first page names the server."""
    auth_server.books.clients["client-1"].redirect_uris = (f"{ORIGIN}/oauth/callback",)
    profile = sdk.mcp_oauth(resource="/mcp", probe=sdk.probe("/mcp", subject="/login"))
    async with opened(running_token_server, tmp_path, monkeypatch, also=(auth_server.url, profile)) as place:
        browser, link = place.browser(), await place.link(profile="mcp")
        assert f"Go on to <bdi>{urlsplit(auth_server.url).netloc}</bdi>" in (await browser.get(link)).text
        await place.agree(browser, await browser.get(await place.go(browser, link)))
        assert await place.connected() == ["acme"]


async def test_a_github_app_is_installed_from_the_pages(
    running_token_server: token_server.TokenServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    profile = sdk.github_app(install_url="https://apps.example/acme/new")
    async with opened(running_token_server, tmp_path, monkeypatch, also=("https://api.example:443", profile)) as place:
        browser, link = place.browser(), await place.link(profile="github_app")
        assert "Go on to <bdi>apps.example</bdi>" in (await browser.get(link)).text
        assert 'href="https://apps.example/acme/new?state=' in (await browser.post(link)).text


async def test_a_store_that_is_gone_makes_the_server_unwell(place: Place):
    place.il._parts.store.close()
    assert (await place.browser().get("/healthz")).status_code >= 500


async def test_a_device_is_asked_about_as_often_as_the_service_wishes(place: Place, monkeypatch: pytest.MonkeyPatch):
    installs, service = place.il.connections.installs, place.service
    begun, token = await installs.begin("acme", profile="device"), service.token
    codes = await installs.start_device(begun.install.install_id)
    refusals = [(400, b'{"error": "slow_down"}'), (400, b'{"error": "authorization_pending"}'), None]
    service.typed = True

    def answered(form: dict[str, str], authorization: str) -> tuple[int, dict[str, str], bytes]:
        service.refusal = refusals.pop(0)
        return token(form, authorization)

    monkeypatch.setattr(service, "token", answered)
    proven = await installs.await_device(begun.install.install_id, codes)
    assert place.clock.waits == [5, 10, 10]
    assert proven.state is connections.InstallState.PROVEN
    assert (await installs.complete(proven.install_id)).subject == "octo"


async def wait_in_vain(place: Place, refusal: bytes | None = None, *, ended: str | None = None) -> str:
    """What is said in the end to who waits for a device of which nothing comes."""
    installs = place.il.connections.installs
    begun = await installs.begin("acme", profile="device")
    codes = await installs.start_device(begun.install.install_id)
    place.service.refusal = None if refusal is None else (400, refusal)
    if ended == "cancelled":
        await installs.cancel(begun.install.install_id)
    with pytest.raises(connections.InstallFailed) as caught:
        await installs.await_device(begun.install.install_id, codes)
    return caught.value.message


async def test_who_waits_for_a_device_hears_why_nothing_came_of_it(place: Place):
    assert await wait_in_vain(place, b'{"error": "expired_token"}') == (
        "acme was not connected: nobody typed the code in time"
    )
    assert await wait_in_vain(place, b'{"error": "access_denied"}') == (
        "acme was not connected: the service says that access was denied"
    )
    assert await wait_in_vain(place, b'{"error": "slow_down"}') == "acme was not connected: the time for it is over"
    assert await wait_in_vain(place) == "acme was not connected: the time for it is over"
    assert await wait_in_vain(place, ended="cancelled") == "acme was not connected: it was cancelled"


async def test_who_waits_for_a_device_leaves_it_to_others_who_ask(place: Place, monkeypatch: pytest.MonkeyPatch):
    installs, service = place.il.connections.installs, place.service
    begun = await installs.begin("acme", profile="device")
    codes = await installs.start_device(begun.install.install_id)
    service.typed, service.holds = True, (threading.Event(), threading.Event())
    asked, answered = service.holds
    pauses, proven = 0, anyio.Event()

    async def poll() -> None:
        await installs.poll_device(begun.install.install_id)
        proven.set()

    async def sleep(_seconds: float) -> None:
        nonlocal pauses
        pauses += 1
        if pauses == 2:  # it has seen that somebody asks
            answered.set()
            await proven.wait()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(poll)
        await anyio.to_thread.run_sync(asked.wait)
        monkeypatch.setattr(place.clock, "sleep", sleep)
        proven_there = await installs.await_device(begun.install.install_id, codes)
        assert (pauses, proven_there.state) == (2, connections.InstallState.PROVEN)


async def test_who_waits_hears_how_it_ended(place: Place):
    installs = place.il.connections.installs
    begun = await installs.begin("acme", profile="oauth2")
    ended: list[connections.Install] = []

    async def wait() -> None:
        ended.append(await installs.wait(begun.install.install_id))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await anyio.lowlevel.checkpoint()
        place.clock.advance(601)
    assert (ended[0].state, ended[0].reason) == (connections.InstallState.EXPIRED, connections.Reason.TIME_OVER)
    with pytest.raises(connections.InstallEnded):
        await installs.find_by_link(begun.link)
