"""`interlock serve` as a process: where it listens, and how it ends."""

import html
import json
import re
import socket
import sqlite3
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx2
import pytest

import fix_tls
import token_server
from fix_cli import Shell

pytestmark = pytest.mark.faults


@pytest.fixture
def url(acme: Shell) -> str:
    """Where people find the server, which is a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        made = f"http://127.0.0.1:{free.getsockname()[1]}"
    acme.environment["INTERLOCK_CONNECT__URL"] = made
    return made


def test_a_server_that_is_told_to_end_answers_whoever_came_back(
    acme: Shell, server: token_server.TokenServer, url: str
):
    """What it has begun counts: the person is asked on, by whichever server is there next."""
    server.redirect_uri = f"{url}/oauth/callback"
    link = acme.good("connect", "acme", "--link")["url"]
    with acme.start("serve") as process, httpx2.Client() as browser, ThreadPoolExecutor(1) as pool:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == f"{url}\n"
            onward = re.findall(r'url=([^"]*)"', browser.post(link).text)[0]
            callback = browser.get(html.unescape(onward)).headers["location"]
            asked, answered = server.holds = (threading.Event(), threading.Event())
            back = pool.submit(browser.get, callback)
            asked.wait()
            process.terminate()
            while listens(url):
                time.sleep(0.02)
            answered.set()
            assert back.result().headers["location"].startswith("/connect/account/ins_")
        finally:
            process.terminate()
        out, err = process.communicate()
    assert (process.returncode, out, err) == (0, "", "")
    with closing(sqlite3.connect(acme.store)) as store:
        assert store.execute("select state from installs").fetchall() == [("proven",)]


def listens(url: str) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", int(url.rpartition(":")[2]))) == 0


def test_a_server_behind_a_proxy_says_where_it_listens_and_what_breaks(
    acme: Shell, warm: Path, server: token_server.TokenServer
):
    acme.environment["INTERLOCK_CONNECT__URL"] = "https://connect.example"
    client = ("--secret-env", "client_id=ACME_ID", "--secret-env", "client_secret=ACME_SECRET")
    made = acme.good("connect", "acme", "--profile", "client_credentials", *client)
    with closing(sqlite3.connect(acme.store)) as store, store:
        store.execute("update connections set refresh_due_at = 1 where name = 'acme'")
    server.refusal = (400, b'{"error": "invalid_grant"}')
    with acme.start("serve", "--bind", "127.0.0.1:0", "--json", program=warm / "interlock") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        told = json.loads(process.stdout.readline())
        assert httpx2.get(f"http://{told['listening']}/healthz").status_code == 204
        broken = f"warning: connection {made['connection_id']} of default is reauth_required (refresh_invalid_grant): "
        assert process.stderr.readline().startswith(broken)
        process.terminate()
    assert told["url"] == "https://connect.example"


def test_a_port_that_is_taken_is_told_so(acme: Shell, url: str):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(url.rpartition(":")[2])))
        taken.listen()
        told = acme.run("serve", "--json")
    assert (told.code, told.error["code"]) == (2, "cannot_serve")
    assert "address already in use" in told.error["message"]


def test_it_speaks_tls_with_a_certificate_of_its_own(acme: Shell, warm: Path, url: str, tmp_path: Path):
    """Also as 1.2, which is all that some services speak that report by webhooks."""
    acme.environment["INTERLOCK_CONNECT__URL"] = url = url.replace("http:", "https:")
    pem = fix_tls.certificate(tmp_path, "localhost", "127.0.0.1")
    trusting = ssl.create_default_context(cafile=str(pem))
    older = ssl.create_default_context(cafile=str(pem))
    older.maximum_version = ssl.TLSVersion.TLSv1_2
    with acme.start("serve", "--tls-cert", str(pem), "--tls-key", str(pem), program=warm / "interlock") as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == f"{url}\n"
            for context in (trusting, older):
                assert httpx2.get(f"{url}/healthz", verify=context).status_code == 204
            assert httpx2.get(f"{url}/v1/runs", verify=trusting).json()["type"] == "urn:interlock:error:unauthenticated"
            with pytest.raises(httpx2.ConnectError, match="self-signed"):
                httpx2.get(f"{url}/healthz")
            with pytest.raises(httpx2.TransportError):
                httpx2.get(url.replace("https:", "http:"))
        finally:
            process.terminate()
        out, err = process.communicate()
    assert (process.returncode, out, err) == (0, "", "")


def test_a_certificate_that_cannot_be_used_is_told_before_anything_is_served(acme: Shell, tmp_path: Path):
    pem, other = (fix_tls.certificate(folder, "localhost") for folder in (tmp_path, fresh(tmp_path / "other")))
    for cert, key in ((pem, other), (pem, tmp_path / "none.pem"), (acme.store, pem)):
        told = acme.run("serve", "--bind", "127.0.0.1:0", "--tls-cert", str(cert), "--tls-key", str(key), "--json")
        assert (told.code, told.error["code"]) == (2, "cannot_serve")
    told = acme.run("serve", "--bind", "127.0.0.1:0", "--tls-cert", str(pem), "--json")
    assert (told.code, "go together" in told.error["message"]) == (2, True)
    told = acme.run("serve", "--bind", "0.0.0.0:0", "--json")
    assert (told.code, "in the clear" in told.error["message"]) == (2, True)


def fresh(folder: Path) -> Path:
    folder.mkdir()
    return folder
