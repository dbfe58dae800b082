"""Providers on the command line: imported, told of, listed and shown."""

import json

from fix_cli import Shell

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
    assert json.loads(shell.run("providers", "show", "acme", "--json").out)["provider"]["contract"]


def test_what_goes_wrong_is_told(shell: Shell):
    (shell.folder / "providers.yaml").write_text(NANGO)
    other = shell.run("providers", "import", "providers.yaml", "--format", "interlock", "--json")
    assert (other.code, other.error["code"]) == (2, "invalid_provider")
    one = shell.run("providers", "import", "providers.yaml", "--format", "nango", "--only", "nobody", "--json")
    assert one.error["code"] == "invalid_provider"
    assert shell.run("providers", "show", "acme", "--json").error["code"] == "unknown_provider"
    assert shell.run("providers", "import", "nothing.yaml", "--json").error["code"] == "file_refused"
