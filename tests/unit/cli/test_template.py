"""The settings file that `init` writes is one that is read, and its policy says what its comments say."""

from pathlib import Path

import pytest

from interlock import app, budgets, policy
from interlock.cli import template


@pytest.mark.parametrize("store", [None, "data/x.db", 'a "quoted" name.db', "postgresql://me:secret@db/x"])
def test_it_is_read(store: str | None, tmp_path: Path):
    text = template.settings(store=store)
    assert "secret" not in text
    file = app.parse_file(tmp_path / "interlock.toml", text)
    settings = app.load(file)
    assert settings.approvals.self_review
    if store is not None and "://" not in store:
        assert settings.store == store


@pytest.mark.parametrize(
    ("effect", "said"),
    [("read", "allow"), ("create", "ask"), ("update", "ask"), ("execute", "ask"), ("delete", "deny")],
)
def test_its_policy(effect: str, said: str):
    judged = policy.from_document(policy.parse_document(template.settings(store=None), source="interlock.toml"))
    facts = policy.Facts(
        capability_id="a.b",
        connector_id="a",
        effect=effect,
        runtime_class="direct",
        tenant_id="t",
        actor="x",
        environment="dev",
    )
    decision = judged.decide(facts)
    assert decision.effect == said
    assert decision.reasons[0].rule_id != "default"


def test_what_is_commented_out_is_right_too(tmp_path: Path):
    text = template.settings(store=None)
    keys = ("[[", "id =", "then =", "capability =", "name =", "per =", "effect =", "rate =")
    lines = [
        line.removeprefix("# ") if line.startswith(tuple(f"# {key}" for key in keys)) else line
        for line in text.splitlines()
    ]
    path = tmp_path / "interlock.toml"
    path.write_text("\n".join(lines))
    file = app.read_file(path)
    assert len(file.values["policy"]["rules"]) == 5
    policy.from_document(file.document)
    assert len(budgets.parse_rules(file.values["budgets"], locate=file.document.locate)) == 1
