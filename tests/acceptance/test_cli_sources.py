"""`interlock connect --from`: secrets that stay where they are."""

import json

import pytest

from fix_cli import REPOSITORY, TOKEN, Shell

READ = ("invoke", "github.repo.fetch", f"repo={REPOSITORY}")


def refused(shell: Shell, *arguments: str, code: str) -> str:
    told = shell.run(*arguments, "--json")
    assert (told.code, told.error["code"]) == (2, code), told.out
    return told.error["message"]


def test_a_file_is_found_again_from_another_folder(shell: Shell):
    token = shell.folder / "kept" / "token"
    token.parent.mkdir()
    token.touch(mode=0o600)
    token.write_text(TOKEN)
    line = ("connect", "github", "--base-url", shell.service.url, "--name", "kept", "--from")
    made = shell.good(*line, "file:kept/token")
    assert (made["secret_source"], made["source"]) == ("file", {"token": str(token)})
    assert shell.good(*READ, "--connection", "kept")["state"] == "completed"
    token.chmod(0o644)
    assert "mode 0644: others can get at it" in refused(shell, *READ, "--connection", "kept", code="secret_exposed")


def test_what_a_profile_takes_besides_its_secret(shell: Shell):
    keyed = {
        "base_url": shell.service.url,
        "headers": {"authorization": "Bearer ${apiKey}", "x-site": "${connectionConfig.site}"},
    }
    entry = {"auth_mode": "API_KEY", "proxy": {**keyed, "verification": {"method": "GET", "endpoints": ["/user"]}}}
    (shell.folder / "providers.json").write_text(json.dumps({"acme": entry}))
    shell.good("providers", "import", "providers.json", "--format", "nango")
    line = ("connect", "provider_acme", "--name", "acme", "--from", "env:TOKEN")
    assert "site" in refused(shell, *line, code="invalid_grant")
    made = shell.good(*line, "--field", "site=eu", "--profile", "api_key")
    assert (made["params"], made["source"]) == ({"site": "eu"}, {"api_key": "TOKEN"})
    assert "does not connect by token" in refused(shell, *line, "--profile", "other", code="invalid_request")
    shell.let_through("provider_acme.proxy.get")
    assert shell.good("proxy", "acme", "GET", "/user")["output"]["status"] == 200


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("--from", "env:TOKEN", "--token-env", "TOKEN"), "go without it"),
        (("--from", "env:TOKEN", "--expires-at", "2199-01-31"), "go without it"),
        (("--from", "env:TOKEN", "--secret-env", "token=TOKEN"), "a token goes without"),
        (("--from", "env:TOKEN", "--field", "ghp_0123456789"), "--field NAME=VALUE"),
        (("--token-env", "TOKEN", "--field", "a=b"), "--secret-env NAME=VARIABLE"),
        (("--from", "ghp_0123456789"), "KIND:PLACE"),
        (("--from", "env:ONE", "--from", "env:TWO"), "FIELD=KIND:PLACE"),
    ],
)
def test_a_source_that_cannot_be_used_is_a_mistake_of_usage(shell: Shell, given: tuple[str, ...], told: str):
    message = refused(shell, "connect", "github", *given, code="usage")
    assert told in message
    assert "0123456789" not in message
