"""`interlock conformance`: the suites from the command line."""

import pytest

from fix_cli import Shell


def test_a_lane_passes_and_the_report_is_a_document(bare_shell: Shell) -> None:
    told = bare_shell.run("conformance", "lane", "sse", "--json")
    assert told.code == 0, told.out
    assert told.json["report"] == "interlock.conformance-report/v1"
    assert {each["verdict"] for each in told.json["checks"]} == {"passed"}


def test_a_target_passes_and_the_report_is_a_table(bare_shell: Shell) -> None:
    told = bare_shell.run("conformance", "target", "local-process")
    assert told.code == 0
    assert "local-process does not promise it" in told.out
    assert "0 failed" in told.out.splitlines()[-1]


def test_a_verifier_passes(bare_shell: Shell) -> None:
    told = bare_shell.run("conformance", "verifier", "authority-signature", "--json")
    assert (told.code, told.json["kind"], told.json["passed"]) == (0, "verifier", True)


def test_an_unknown_name_is_told_with_the_known_ones(bare_shell: Shell) -> None:
    for kind, known in (("lane", "websocket"), ("target", "local-landlock"), ("verifier", "attestation")):
        told = bare_shell.run("conformance", kind, "nonesuch", "--json")
        assert (told.code, told.error["code"]) == (2, "unknown_subject")
        assert known in told.error["message"]


@pytest.mark.faults
def test_a_memory_provider_passes_and_its_report_is_a_document(bare_shell: Shell) -> None:
    told = bare_shell.run("conformance", "memory", "sqlite", "--level", "temporal", "--json")
    assert told.code == 0, told.out
    assert (told.json["kind"], told.json["subject"], told.json["passed"]) == ("memory", "sqlite", True)
    assert told.json["levels"]["temporal"]["failed"] == 0
    assert "history" in told.json["provider"]["capabilities"]["offered"]
    assert list(bare_shell.folder.iterdir()) == []
    shown = bare_shell.run("conformance", "memory", "memory", "--level", "temporal")
    assert "memory memory, level temporal: kept" in shown.out


@pytest.mark.faults
def test_a_memory_provider_that_is_not_there_is_told(bare_shell: Shell) -> None:
    for words, code in (
        (("nonesuch",), "unknown_subject"),
        (("sqlite", "--level", "best"), "unknown_subject"),
        (("sqlite", "--case", "core-none"), "unknown_subject"),
        (("sqlite", "--set", "embedder=odd"), "unknown_subject"),
        (("sqlite", "--set", "odd"), "usage"),
    ):
        told = bare_shell.run("conformance", "memory", *words, "--json")
        assert (told.code, told.error["code"]) == (2, code), told.out
