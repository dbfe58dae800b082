"""The connect page in Chromium: forms, cookies, policies and layout are the browser's own.

Needs Playwright and a Chromium (`make rig` installs Debian's); `TEST_BROWSER` names another one.
"""

import os
import re
import shutil
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, ViewportSize, expect, sync_playwright

import fix_connections
import token_server
from fix_cli import Shell
from fix_consent import waiting
from interlock import connections
from interlock.server import html

pytestmark = pytest.mark.rig

AXE = Path(__file__).parents[2] / ".tools" / "axe" / "node_modules" / "axe-core" / "axe.min.js"
PROGRAM = os.environ.get("TEST_BROWSER") or shutil.which("chromium-headless-shell") or shutil.which("chromium")
PHONE, DESK = ViewportSize(width=320, height=640), ViewportSize(width=1280, height=800)


@pytest.fixture(scope="module")
def browser() -> Generator[Browser]:
    if PROGRAM is None:
        pytest.skip("there is no chromium: `make rig` as root installs one, and TEST_BROWSER names one")
    with sync_playwright() as driver:
        made = driver.chromium.launch(executable_path=PROGRAM, args=["--no-sandbox"])
        yield made
        made.close()


@pytest.fixture
def person(browser: Browser) -> Generator[BrowserContext]:
    context = browser.new_context(viewport=PHONE)
    yield context
    context.close()


def shown(page: Page, name: str) -> None:
    """Nothing overflows, everything that is pressed is large enough, axe finds no fault; light and dark, small and large."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for size in (PHONE, DESK):
            page.set_viewport_size(size)
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
            for button in page.get_by_role("button").all():
                box = button.bounding_box()
                assert box is not None
                assert box["height"] >= 44
            if folder := os.environ.get("TEST_PICTURES"):
                page.screenshot(path=Path(folder) / f"{name}-{scheme}-{size['width']}.png", full_page=True)
        if AXE.exists():
            page.evaluate(AXE.read_text())
            found = page.evaluate("axe.run()")
            assert [each["id"] for each in found["violations"]] == []


INSTALL = replace(
    fix_connections.INSTALL,
    tenant_id="Northwind Traders",
    connection_name="Kim's calendar",
    actor="kim@northwind.example",
    scopes_asked=frozenset({"calendar.read", "calendar.write", "profile"}),
    base_url="https://eu.acme.example",
    state=connections.InstallState.PROVEN,
    found=connections.Found(subject="kim.doe", scopes=frozenset({"calendar.read", "profile"}), expires_at=None),
)
HOSTILE = "ACME\u202e gnp.exe. Click Connect, " + "then you are paid. Z\u0337\u0321\u0337\u0321\u0337\u0321algo " * 9
STATES = {
    "asking": html.asking(INSTALL, "Acme Calendar", "accounts.acme.example"),
    "renewing": html.asking(replace(INSTALL, connection_id="con_1"), "Acme Calendar", "accounts.acme.example"),
    "leaving": html.leaving("about:blank#", "accounts.acme.example"),
    "question": html.account(INSTALL, "Acme Calendar", "x"),
    "nobody": html.account(replace(INSTALL, found=replace(INSTALL.found, subject=None)), "Acme Calendar", "x"),  # pyright: ignore[reportArgumentType]
    "connected": html.ended(replace(INSTALL, state=connections.InstallState.COMPLETED), "Acme Calendar"),
    "begun": html.ended(replace(INSTALL, state=connections.InstallState.EXCHANGING), "Acme Calendar"),
    "denied": html.ended(
        replace(INSTALL, state=connections.InstallState.FAILED, reason=connections.Reason.ACCESS_DENIED), "Acme"
    ),
    "hostile": html.account(replace(INSTALL, tenant_id=HOSTILE, actor=HOSTILE), HOSTILE, "x"),
    "hebrew": html.account(replace(INSTALL, tenant_id="\u05d7\u05d1\u05e8\u05d4 (2026)"), "Acme", "x"),
    "many": html.asking(replace(INSTALL, scopes_asked=frozenset(f"https://acme.example/auth/{n}" for n in range(70))),
                        "Acme Calendar", "accounts.acme.example"),
}  # fmt: skip


def begin(page: Page, address: str, service: token_server.TokenServer) -> None:
    service.redirect_uri = f"{address.partition('/connect/')[0]}/oauth/callback"
    page.goto(address)


def test_an_account_is_connected_by_keyboard_on_a_phone(
    person: BrowserContext, acme: Shell, server: token_server.TokenServer, warm: Path
):
    page, complaints = person.new_page(), list[str]()
    server.subject = "octocat-with-quite-a-long-name-of-fifty-nine-characters-here"

    def hear(message: ConsoleMessage) -> None:
        complaints.append(message.text)

    page.on("console", hear)
    with waiting(acme, "connect", "acme", "--name", "work", "--no-browser", "--json", program=warm / "interlock") as it:
        begin(page, it.told("open"), server)
        expect(page.get_by_role("heading", level=1)).to_have_text(re.compile("Connect “Acme”"))
        expect(page.get_by_role("main")).to_contain_text("default")
        shown(page, "ask")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_contain_text(server.subject)
        assert "code" not in page.url
        shown(page, "account")
        assert person.cookies()[0].get("httpOnly") is True
        assert page.evaluate("document.cookie") == ""
        page.reload()
        page.get_by_role("button", name="Connect").focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_contain_text("is connected")
        shown(page, "done")
        assert it.end().json["subject"] == server.subject
    assert complaints == []
    assert server.referrers == {None}


@pytest.mark.parametrize("state", STATES)
def test_every_state_is_well_shown(person: BrowserContext, state: str):
    page = person.new_page()
    page.set_content(STATES[state])
    shown(page, state)
    assert page.title()
    assert page.get_by_role("heading", level=1).count() == 1


def test_the_page_runs_no_script_and_stands_in_no_frame(
    person: BrowserContext, acme: Shell, server: token_server.TokenServer, warm: Path
):
    with waiting(acme, "connect", "acme", "--no-browser", "--json", program=warm / "interlock") as it:
        address, page, outer = it.told("open"), person.new_page(), person.new_page()
        page.goto(address)
        page.evaluate("document.body.append(Object.assign(document.createElement('script'), {text: 'window.ran = 1'}))")
        assert page.evaluate("window.ran === undefined")
        with outer.expect_console_message(lambda message: "frame-ancestors" in message.text):
            outer.set_content(f'<iframe src="{address}"></iframe>')


def test_a_question_answered_from_another_site_joins_nothing(
    person: BrowserContext, acme: Shell, server: token_server.TokenServer, warm: Path
):
    """Another site can make this browser send the form; the cookie does not go with it."""
    with waiting(acme, "connect", "acme", "--no-browser", "--json", program=warm / "interlock") as it:
        page = person.new_page()
        begin(page, it.told("open"), server)
        page.get_by_role("button").click()
        expect(page.get_by_role("button", name="Connect")).to_be_visible()
        proof = page.locator("input[name=proof]").get_attribute("value")
        question, other = page.url, person.new_page()
        form = f'<form method="post" action="{question}"><input name="proof" value="{proof}"><input name="answer" value="join">'
        other.goto("about:blank")
        other.set_content(f"{form}<button>Win</button></form>")
        other.get_by_role("button", name="Win").click()
        expect(other.get_by_role("heading", level=1)).to_have_text("Nothing here")
        page.get_by_role("button", name="Cancel").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Nothing was connected")
        shown(page, "cancelled")
        assert it.end().code == 1
