"""`interlock plane verify`: what a reader of a receipt, or of a sink's evidence, is told."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from fix_cli import Shell
from fix_plane import Bench, Intents
from fix_remote import signer_of
from interlock import plane
from interlock.adapters import nodes
from interlock.adapters.sinks import FileSink
from interlock.kernel import SystemClock

pytestmark = pytest.mark.anyio


async def execute(times: int, signer: plane.Signer | None, folder: Path) -> list[plane.Receipt]:
    """The receipts of a node that signs, and its evidence in a folder, with all bodies."""
    intents = Intents()
    scenario = {
        "contract": "interlock.scenario/v1",
        "name": "hello",
        "rules": [{"when": {"kind": "http"}, "answer": {"status": 200, "text": "hello"}}],
    }
    lane = plane.simulate(json.dumps(scenario))
    target = plane.LocalTarget("sim", target_class="made-up", lane_id=plane.SIMULATED, clock=intents.clock)
    sinks = plane.SinkSet([FileSink(folder)], capture=plane.Capture.FULL)
    bench = Bench(intents, lane, [target], signer=signer, sinks=sinks)
    try:
        return [await bench.execute(intents.http(), "made-up") for _ in range(times)]
    finally:
        await bench.node.aclose()


def test_what_a_command_left_is_whole_and_signed_by_nobody(bare_shell: Shell) -> None:
    assert bare_shell.run("plane", "run", "--receipt", "receipt.json", "--", "/bin/sh", "-c", "exit 3").code == 3
    told = bare_shell.run("plane", "verify", "receipt.json", "--json")
    assert (told.code, told.json["ok"]) == (6, False)
    assert told.json["receipts"][0]["status"] == "intact_unsigned"
    path = bare_shell.folder / "receipt.json"
    path.write_text(path.read_text().replace('"exit_code": 3', '"exit_code": 0'))
    said = bare_shell.run("plane", "verify", "receipt.json")
    assert said.code == 6
    assert "altered" in said.out
    assert "Do not rely on it." in said.out


async def test_only_a_key_that_the_reader_trusts_verifies(bare_shell: Shell, node_keys: Path, tmp_path: Path) -> None:
    nodes.make_credentials(tmp_path / "k", node_id="x", names=["127.0.0.1"], client="ann", clock=SystemClock())
    [receipt] = await execute(1, signer_of(node_keys), tmp_path / "evidence")
    (bare_shell.folder / "receipt.json").write_text(receipt.canonical)

    def told(*trust: str) -> tuple[int, str]:
        answer = bare_shell.run("plane", "verify", "receipt.json", *trust, "--json")
        return answer.code, answer.json["receipts"][0]["status"]

    assert told("--trust", str(node_keys / "client/receipts.pem")) == (0, "verified")
    assert told("--trust", str(tmp_path / "k/client/receipts.pem")) == (6, "wrong_signer")
    assert told() == (6, "intact_signer_unknown")
    no_key = bare_shell.run("plane", "verify", "receipt.json", "--trust", "receipt.json", "--json")
    assert (no_key.code, no_key.error["code"]) == (2, "credentials_unusable")


async def test_every_line_of_a_sinks_evidence_counts(bare_shell: Shell, node_keys: Path) -> None:
    await execute(3, signer_of(node_keys), bare_shell.folder)
    verify = ("plane", "verify", "evidence.jsonl", "--trust", str(node_keys / "client/receipts.pem"))
    assert [each["status"] for each in bare_shell.good(*verify)["receipts"]] == ["verified"] * 3
    assert "3 verified" in bare_shell.run(*verify).out
    path = bare_shell.folder / "evidence.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[1]["body"]["base64"] = base64.b64encode(b"another").decode()
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    told = bare_shell.run(*verify, "--json")
    assert told.code == 6
    assert [each["status"] for each in told.json["receipts"]] == ["verified", "altered", "verified"]
    assert "\n2     altered" in bare_shell.run(*verify).out


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("run_id", "another"),
        ("tenant_id", "another"),
        ("attempt_id", "another"),
        ("capture", "redacted"),
        ("body.media_type", "text/forged"),
        ("seal.signature", base64.b64encode(bytes(64)).decode()),
        ("seal.key_id", "another"),
    ],
)
async def test_all_that_stands_around_a_receipt_is_bound(
    bare_shell: Shell, node_keys: Path, path: str, value: str
) -> None:
    await execute(1, signer_of(node_keys), bare_shell.folder)
    file = bare_shell.folder / "evidence.jsonl"
    record = changed = json.loads(file.read_text())
    *outer, name = path.split(".")
    for each in outer:
        changed = changed[each]
    changed[name] = value
    if path == "capture":  # a body of their own, told as one that no digest has to fit
        record["body"]["base64"] = base64.b64encode(b"forged").decode()
    file.write_text(json.dumps(record) + "\n")
    told = bare_shell.run(
        "plane", "verify", "evidence.jsonl", "--trust", str(node_keys / "client/receipts.pem"), "--json"
    )
    assert (told.code, told.json["receipts"][0]["status"]) == (6, "altered")


@pytest.mark.parametrize("left", ["nothing", "its digest"])
async def test_a_record_whose_seal_was_taken_off_is_not_verified(bare_shell: Shell, node_keys: Path, left: str) -> None:
    await execute(1, signer_of(node_keys), bare_shell.folder)
    file = bare_shell.folder / "evidence.jsonl"
    made = plane.EvidenceRecord.model_validate_json(file.read_text())
    forged = made.model_copy(update={"run_id": "another", "seal": None})
    file.write_text((forged if left == "nothing" else forged.sealed(None)).canonical)
    told = bare_shell.run(
        "plane", "verify", "evidence.jsonl", "--trust", str(node_keys / "client/receipts.pem"), "--json"
    )
    assert (told.code, told.json["receipts"][0]["status"]) == (6, "unbound")


async def test_a_record_that_nobody_signed_shows_what_was_changed_by_accident(bare_shell: Shell) -> None:
    await execute(1, None, bare_shell.folder)
    file = bare_shell.folder / "evidence.jsonl"
    verify = ("plane", "verify", "evidence.jsonl", "--json")
    assert bare_shell.run(*verify).json["receipts"][0]["status"] == "intact_unsigned"
    file.write_text(file.read_text().replace('"tenant_id":"', '"tenant_id":"x'))
    assert bare_shell.run(*verify).json["receipts"][0]["status"] == "altered"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "not JSON"),
        (b"{}", "intent_id"),
        (b"[1]", "should be an object"),
        (b'{"contract":"interlock.receipt/v2"}', "contract"),
        (b'{"contract":"interlock.receipt/v1","contract":"interlock.receipt/v1"}', "twice"),
        (b'{"contract":"interlock.receipt/v1"}\n{"contract":', "line 1"),
        (b"\xff\xfe", "not JSON"),
    ],
)
def test_what_is_no_receipt_is_told_as_that(bare_shell: Shell, content: bytes, problem: str) -> None:
    (bare_shell.folder / "receipt.json").write_bytes(content)
    told = bare_shell.run("plane", "verify", "receipt.json", "--json")
    assert (told.code, told.json["status"]) == (6, "malformed")
    assert problem in told.json["problem"]
    assert "malformed" in bare_shell.run("plane", "verify", "receipt.json").out


async def test_half_a_line_of_evidence_is_told_with_its_number(bare_shell: Shell, node_keys: Path) -> None:
    await execute(2, signer_of(node_keys), bare_shell.folder)
    path = bare_shell.folder / "evidence.jsonl"
    path.write_bytes(path.read_bytes()[:-40])
    told: Any = bare_shell.run("plane", "verify", "evidence.jsonl", "--json").json
    assert told["problem"].startswith("line 2: ")
