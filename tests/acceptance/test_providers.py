"""Providers on the command line: imported, told of, listed and shown."""

import json

from fix_cli import REPOSITORY, Shell

NANGO = """
acme:
  display_name: Acme
  auth_mode: API_KEY
  proxy: {base_url: "https://${connectionConfig.site}.acme.dev", headers: {x-api-key: "${apiKey}"}}
scripted:
  display_name: Scripted
  auth_mode: API_KEY
  post_connection_script: afterwards
  proxy: {base_url: "https://scripted.dev", headers: {x-api-key: "${apiKey}"}}
old:
  auth_mode: OAUTH1
"""


def test_a_catalogue_is_tried_imported_listed_and_shown(shell: Shell):
    (shell.folder / "providers.yaml").write_text(NANGO)
    tried = shell.run("providers", "import", "providers.yaml", "--format", "nango", "--dry-run", "--json").json
    assert tried["totals"] == {"full": 1, "partial": 1, "refused": 1}
    assert tried["kept"] is False
    assert shell.run("providers", "list", "--json").json["providers"] == []
    told = shell.run("providers", "import", "providers.yaml", "--format", "nango")
    assert "full 1 (33.3%)" in told.out
    assert "post_connection_script: code of its own" in told.out
    listed = shell.run("providers", "list", "--json").json["providers"]
    assert [(each["provider_id"], each["coverage"]) for each in listed] == [("acme", "full"), ("scripted", "partial")]
    shown = shell.run("providers", "show", "acme")
    assert "https://{site}.acme.dev" in shown.out
    line = "interlock connect provider_acme --profile api_key --field site=VALUE --secret-env api_key=VARIABLE"
    assert line in " ".join(shown.out.split())
    assert json.loads(shell.run("providers", "show", "acme", "--json").out)["provider"]["contract"]


def test_what_goes_wrong_is_told(shell: Shell):
    (shell.folder / "providers.yaml").write_text(NANGO)
    other = shell.run("providers", "import", "providers.yaml", "--format", "interlock", "--json")
    assert (other.code, other.error["code"]) == (2, "invalid_provider")
    one = shell.run("providers", "import", "providers.yaml", "--format", "nango", "--only", "nobody", "--json")
    assert one.error["code"] == "invalid_provider"
    assert shell.run("providers", "show", "acme", "--json").error["code"] == "unknown_provider"
    assert shell.run("providers", "import", "nothing.yaml", "--json").error["code"] == "file_refused"
    with (shell.folder / "large.yaml").open("wb") as large:
        large.truncate(9 * 1_048_576)
    assert "limit is 8388608" in shell.run("providers", "import", "large.yaml", "--json").error["message"]
    (shell.folder / "one.yaml").write_text(NANGO.partition("old:")[0])
    shell.good("providers", "import", "one.yaml", "--format", "nango")
    lost = shell.run("invoke", "provider_acme.proxy.get", "path=/", "--json")
    assert lost.error["next_step"].startswith("Connect the service first: `interlock connect provider_acme`; ")
    assert "`interlock providers show acme`" in lost.error["next_step"]


def test_a_request_of_ones_own_is_let_through_by_its_name_only(shell: Shell):
    held = shell.run("proxy", "github", "GET", "/user")
    assert held.code == 4
    assert 'capability = "github.proxy.get"' in held.out
    shell.let_through("github.proxy.get", "provider_acme.proxy.*")
    assert shell.good("proxy", "github", "GET", "/user")["output"]["status"] == 200
    assert shell.run("proxy", "github", "POST", "/user", "--data", "{}").code == 4
    assert "provider_acme" not in shell.run("doctor").out


def test_a_request_of_ones_own_is_a_run(shell: Shell):
    shell.let_through("*.proxy.get")
    told = shell.run(
        "proxy", "github", "GET", f"/repos/{REPOSITORY}/issues?state=all", "--query", "per_page=1", "--json"
    )
    assert told.code == 0, told.err
    assert told.json["output"]["status"] == 200
    assert len(told.json["output"]["body"]) <= 1
    run = shell.run("runs", "show", told.json["run_id"], "--json").json
    assert (run["run"]["kind"], run["run"]["capability"]) == ("proxy", "github.proxy.get")
    held = shell.run(
        "proxy", "github", "POST", f"/repos/{REPOSITORY}/issues", "--data", '{"title": "By proxy"}', "--json"
    )
    assert (held.code, held.json["state"]) == (4, "held")
    assert shell.run("approvals", "approve", held.json["approval_id"]).code == 0
    assert shell.run("proxy", "github", "DELETE", f"/repos/{REPOSITORY}").code == 3
    assert shell.run("review", "export", held.json["run_id"], "-o", "packet.json").code == 0
    assert shell.run("review", "verify", "packet.json").out.startswith("intact")


def test_a_provider_with_several_fields_is_connected_and_asked(shell: Shell):
    entry = {
        "auth_mode": "API_KEY",
        "proxy": {
            "base_url": shell.service.url,
            "headers": {"authorization": "Bearer ${apiKey}", "x-site": "${connectionConfig.site}"},
            "verification": {"method": "GET", "endpoints": ["/user"]},
        },
    }
    (shell.folder / "providers.json").write_text(json.dumps({"acme": entry}))
    shell.good("providers", "import", "providers.json", "--format", "nango")
    shell.let_through("provider_acme.proxy.get")
    shell.good("connect", "provider_acme", "--field", "site=eu", "--secret-env", "api_key=TOKEN", "--name", "eu")
    line = ("connect", "provider_acme", "--field", "site=eu-central", "--name", "acme")
    refused = shell.run(*line, "--secret-env", "api_key=NOWHERE", "--json")
    assert refused.error["code"] == "token_missing"
    told = shell.run(*line, "--secret-env", "api_key=TOKEN").out
    assert "interlock proxy acme GET /PATH" in told
    assert "interlock providers show acme" in told
    lost = shell.run("capabilities", "list", "--connector", "provider_acme", "--json")
    assert "interlock providers show acme" in lost.error["next_step"]
    assert shell.good("proxy", "acme", "get", "/user")["output"]["body"]["login"]
    # What requests show and is no secret may stand in answers.
    made = ("proxy", "acme", "POST", f"/repos/{REPOSITORY}/issues", "--data", '{"title": "In eu-central"}')
    held = shell.run(*made, "--json").json
    approved = shell.good("approvals", "approve", held["approval_id"])
    assert "In eu-central" in json.dumps(approved)
    assert shell.service.url not in shell.run("connect", "provider_acne", "--secret-env", "api_key=TOKEN", "--json").out


def test_what_a_request_may_not_say(shell: Shell):
    shell.let_through("*.proxy.get")
    for arguments, code in (
        (("GET", "https://evil.dev/"), "invalid_path_value"),
        (("GET", "//evil.dev/"), "invalid_path_value"),
        (("GET", "/user?a=1#b"), "usage"),
        (("GET", "/repos/../../x"), "invalid_path_value"),
        (("GET", "/user", "--header", "authorization: Bearer x"), "invalid_argument"),
        (("GET", "/user", "--header", "cookie: x"), "invalid_argument"),
        (("GET", "/user", "--data", "{}"), "invalid_input"),
        (("TRACE", "/user"), "invalid_request"),
        (("POST", "/user", "--data", "{"), "invalid_json"),
        (("POST", "/user", "--query", "x"), "usage"),
    ):
        told = shell.run("proxy", "github", *arguments, "--json")
        assert (told.code, told.error["code"]) == (2, code), arguments
    missing = shell.run("proxy", "github", "GET", "/nothing/here", "--json")
    assert missing.error["code"] == "resource_not_found"


def test_an_entry_in_use_moves_no_credential_unasked(shell: Shell):
    entry = NANGO.partition("scripted:")[0].replace("https://${connectionConfig.site}.acme.dev", shell.service.url)
    (shell.folder / "providers.yaml").write_text(entry)
    imported = ("providers", "import", "providers.yaml", "--format", "nango")
    shell.good(*imported)
    shell.let_through("provider_acme.proxy.get")
    shell.good("connect", "provider_acme", "--secret-env", "api_key=TOKEN", "--name", "acme")
    (shell.folder / "providers.yaml").write_text(entry.replace(shell.service.url, "https://evil.acme.dev"))
    refused = shell.run(*imported, "--json")
    assert (refused.code, refused.error["code"]) == (2, "provider_in_use")
    assert "'https://evil.acme.dev'" in refused.error["details"]["changes"][0]["changes"][0]
    assert shell.run(*imported, "--replace", "nobody", "--json").error["code"] == "invalid_provider"
    asked = shell.run("proxy", "acme", "GET", "/nothing", "--json")
    assert asked.error["code"] == "auth_failed"  # by the service that it was connected to
    shell.good(*imported, "--replace", "acme")
    assert "https://evil.acme.dev" in shell.run("providers", "show", "acme").out
    assert "acme" in shell.run("providers", "remove", "acme", "--json").error["message"]
    shell.good("connections", "revoke", "acme", "--reason", "over", "--only-here")
    shell.good("providers", "remove", "acme")
    assert shell.good("providers", "list")["providers"] == []
    assert shell.good("connections", "show", "acme")["state"] == "revoked"
    assert shell.good("runs", "list")["runs"]


def test_what_an_answer_is_shown_as_and_where_it_goes(shell: Shell):
    shell.let_through("github.proxy.get", "github.proxy.head")
    looked = shell.run("proxy", "github", "HEAD", "/user", "-i")
    assert looked.code == 0, looked.err
    assert "content-type" in looked.out
    asked = ("proxy", "github", "GET", "/user")
    assert "content-type" not in shell.run(*asked).out
    told = shell.good(*asked, "-o", "me.json")
    assert told["output"]["bytes"] == (shell.folder / "me.json").stat().st_size
    assert json.loads((shell.folder / "me.json").read_text())["login"]
    again = shell.run(*asked, "-o", "me.json", "--json")
    assert (again.error["code"], "--force" in again.error["next_step"]) == ("file_refused", True)
    assert len(shell.good("runs", "list")["runs"]) == 3  # nothing was asked for a file that is there
    assert shell.run(*asked, "-o", "me.json", "--force").code == 0
    assert json.loads(shell.run(*asked, "-o", "-").out)["login"]


def test_a_file_of_any_kind_is_sent(shell: Shell):
    (shell.folder / "image.png").write_bytes(b"\x89PNG\r\n")
    put = ("proxy", "github", "PUT", "/repos/x", "--input", "image.png")
    refused = shell.run(*put, "--json")
    assert (refused.error["code"], "content-type" in refused.error["next_step"]) == ("invalid_json", True)
    held = shell.run(*put, "--header", "content-type: image/png", "--json")
    assert held.code == 4
    run = shell.good("runs", "show", held.json["run_id"])["run"]
    assert run["input"]["base64"] == "iVBORw0K"
    (shell.folder / "large").write_bytes(b"\xff" * 1_000_000)
    large = shell.run(
        "proxy", "github", "PUT", "/", "--input", "large", "--header", "content-type: image/png", "--json"
    )
    assert large.code == 2
    assert "larger than 1048576 bytes" in large.error["message"]


def test_a_list_is_followed_page_by_page(shell: Shell):
    shell.write_settings('[policy]\ndefault = "allow"\n')
    for number in range(3):
        shell.good("invoke", "github.issue.create", f"repo={REPOSITORY}", f"title=Number {number}")
    listed = ("proxy", "github", "GET", f"/repos/{REPOSITORY}/issues?state=all&per_page=1", "--pages")
    two = shell.good(*listed, "2")["output"]
    assert ([len(page) for page in two["pages"]], two["more"]) == ([1, 1], True)
    all_of_them = shell.good(*listed, "9", "-o", "all.json")["output"]
    assert all_of_them["file"] == "all.json"
    pages = json.loads((shell.folder / "all.json").read_text())
    assert {page[0]["title"] for page in pages} >= {"Number 0", "Number 1", "Number 2"}
    run = shell.good("runs", "list")["runs"][0]["run_id"]
    assert shell.good("runs", "show", run)["run"]["input"]["query"]["per_page"] == "1"
    assert shell.run("proxy", "github", "POST", "/user", "--pages", "2", "--json").error["code"] == "usage"
