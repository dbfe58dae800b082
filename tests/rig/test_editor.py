"""Agents' documents as an editor checks them: by the validator of VS Code, with the published schema."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from agent_documents import FULL, TYPOS, documented, mistaken

ROOT = Path(__file__).parents[2]
MODULES = ROOT / ".tools" / "editor" / "node_modules"
PROGRAM = """
const { getLanguageService, TextDocument } = require("vscode-json-languageservice");
const { schema, documents } = JSON.parse(require("fs").readFileSync(0));
const service = getLanguageService({});
service.configure({ validate: true, schemas: [{ uri: "agent.json", fileMatch: ["*"], schema }] });
Promise.all(documents.map(async (text, index) => {
  const document = TextDocument.create(`file:///${index}.json`, "json", 0, text);
  const found = await service.doValidation(document, service.parseJSONDocument(document));
  return found.map((each) => `${document.getText(each.range)}: ${each.message}`);
})).then((told) => console.log(JSON.stringify(told)));
"""

pytestmark = [
    pytest.mark.rig,
    pytest.mark.skipif(shutil.which("node") is None, reason="no node"),
    pytest.mark.skipif(
        not MODULES.exists(), reason=f"no editor's validator: {MODULES} is not there (`make rig` installs it)"
    ),
]


def validated(documents: list[dict[str, Any]]) -> list[list[str]]:
    """What the editor marks in each."""
    schema = json.loads((ROOT / "schemas" / "agent" / "v1.json").read_text())
    given = json.dumps({"schema": schema, "documents": [json.dumps(each) for each in documents]})
    environment = {"PATH": os.environ["PATH"], "NODE_PATH": str(MODULES)}
    return json.loads(
        subprocess.run(
            ["node", "-e", PROGRAM],
            input=given,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
    )


def test_an_editor_marks_nothing_that_is_right():
    documents = [*documented(), FULL]
    assert validated(documents) == [[] for _ in documents]


def test_an_editor_marks_each_mistake_where_it_is():
    for typo, marked in zip(TYPOS, validated([mistaken(*each) for each in TYPOS]), strict=True):
        _, member, value = typo
        assert marked, typo
        assert any(member in each or json.dumps(value) in each for each in marked), (typo, marked)
