"""`interlock tokens`, and a token in use."""

import json

import httpx2

from fix_cli import Shell


def test_a_token_is_shown_once_and_opens_until_it_is_revoked(shell: Shell):
    shell.connect()
    made = shell.good("tokens", "create", "ci", "--role", "caller", "--capability", "github.*", "--expires", "30d")
    assert (made["actor"], made["roles"], made["capabilities"]) == ("ci", ["caller"], ["github.*"])
    [listed] = shell.good("tokens", "list")["tokens"]
    assert listed == {name: value for name, value in made.items() if name != "token"}
    shell.environment["INTERLOCK_CONNECT__URL"] = "http://127.0.0.1:8412"
    with shell.start("serve", "--bind", "127.0.0.1:0", "--json") as process:
        assert process.stdout is not None
        place = json.loads(process.stdout.readline())["listening"]
        with httpx2.Client(
            base_url=f"http://{place}/v1", headers={"Authorization": f"Bearer {made['token']}"}
        ) as client:
            assert client.get("/runs").json() == {"runs": [], "next_cursor": None}
            assert client.get("/openapi.json").json()["openapi"].startswith("3.")
            shell.good("tokens", "revoke", made["token_id"])
            assert client.get("/runs").status_code == 401
        process.terminate()
        out, err = process.communicate()
    assert (process.returncode, out, err) == (0, "", "")
    assert made["token"] not in shell.store.read_bytes().decode("latin-1")


def test_tokens_in_a_table(shell: Shell):
    assert "There are no tokens yet." in shell.run("tokens", "list").out
    told = shell.run("tokens", "create", "ops", "--for", "person:ann", "--role", "operator", "--expires", "never").out
    assert "ilk_" in told
    assert "person:ann in default" in told
    assert "person:ann" in shell.run("tokens", "list").out
    wrong = shell.run("tokens", "create", "x", "--expires", "soon", "--json")
    assert (wrong.code, wrong.error["code"]) == (2, "usage")
    assert shell.run("tokens", "create", "x", "--role", "operator", "--connection", "nowhere", "--json").code == 2


def test_beyond_this_machine_it_speaks_tls_or_is_told_why_not(shell: Shell):
    told = shell.run("serve", "--bind", "0.0.0.0:0", "--json")
    assert (told.code, told.error["code"]) == (2, "usage")
    assert "--tls-cert" in told.error["next_step"]
    assert shell.run("serve", "--bind", "127.0.0.1:0", "--tls-cert", "cert.pem", "--json").code == 2
