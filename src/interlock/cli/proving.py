"""`interlock plane targets|verify`: what was proved of targets, and what receipts prove."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

import typer

if TYPE_CHECKING:
    from interlock import plane
    from interlock.cli.desk import Answer, Desk
    from interlock.cli.paper import Paper
    from interlock.kernel import JSON

_SENTENCES: Final = {
    "verified": "A node whose key you trust says all of this, and nothing was changed since.",
    "intact_unsigned": (
        "Nothing was changed by accident, but nobody signed it: whoever holds it could have made it. "
        "A node signs what it carries out for others (`interlock node init`)."
    ),
    "intact_signer_unknown": (
        "Nothing was changed by accident, but anyone could have signed it. Ask whoever runs the node for its public key "
        "(`receipts.pem` of `interlock node init`) and pass it: `--trust receipts.pem`."
    ),
    "wrong_signer": "Nothing was changed by accident, but it was signed by a key that you did not name.",
    "unbound": (
        "The receipt is proven, but not the evidence record around it: whose execution it was and the captured body may "
        "have been changed."
    ),
    "altered": "It was changed after it was made. Do not rely on it.",
    "malformed": "This is no receipt, or a damaged one, or one of a newer version. Do not rely on it.",
}


class _Checked(NamedTuple):
    receipt: "plane.Receipt"
    verdict: "plane.ReceiptVerdict"

    @classmethod
    def of(cls, proof: "plane.Receipt | plane.EvidenceRecord", verdict: "plane.ReceiptVerdict") -> "_Checked":
        from interlock import plane

        return cls(proof if isinstance(proof, plane.Receipt) else proof.receipt, verdict)

    def document(self) -> "dict[str, JSON]":
        receipt, verdict = self
        return {
            "status": verdict.status.value,
            "meaning": _SENTENCES[verdict.status.value],
            "link": verdict.link,
            "signer": verdict.signer,
            "intent_id": receipt.intent_id,
            "intent_digest": receipt.intent_digest,
            "node_id": receipt.node_id,
            "evidence_head": receipt.evidence_head,
        }


async def targets(
    desk: "Desk",
    *,
    probe: Annotated[
        bool, typer.Option("--probe", help="Try from inside what each one stops; takes some seconds.")
    ] = False,
) -> "Answer":
    """Show the targets for commands on this host, and what was proved of each.

    A class stands for what a probe showed from inside, and for nothing more. Hosts by SSH and guests are shown when they
    stand in `execution.places` of the settings.

    Example:
      interlock plane targets --probe
    """
    from interlock import app
    from interlock.cli.desk import Answer
    from interlock.cli.paper import Ink

    found = await app.list_targets(probe=probe, placed=app.list_placed(desk.settings()))

    def show(paper: "Paper") -> None:
        rows = [
            (each.target_id, paper.state(each.health), " ".join(each.attestation.properties) or (each.reason or ""))
            for each in found
        ]
        paper.table(("target", "health", "what was shown, or why it cannot be used"), rows)
        if not probe:
            paper.line(Ink("Prove it: `interlock plane targets --probe`", "faint"))

    return Answer(document={"targets": [each.record() for each in found]}, show=show)


def verify(
    _: "Desk",
    file: Annotated[str, typer.Argument(metavar="FILE", help="A receipt, or a sink's evidence; - is stdin.")],
    trust: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Public keys of nodes that you trust (Ed25519, PEM).")
    ] = None,
) -> "Answer":
    """Verify receipts, offline.

    No store, no settings and no network are needed. The exit code is 6 unless each of them is verified. A receipt never
    vouches for its own signer: pass the keys that you trust.

    Example:
      interlock plane verify receipt.json --trust keys/client/receipts.pem
    """
    from interlock import app, plane
    from interlock.cli import files
    from interlock.cli.complaint import DONE, NOT_VERIFIED
    from interlock.cli.desk import Answer

    keys = None if trust is None else app.load_receipt_keys(trust)
    try:
        proofs = plane.read_proofs(files.read(file, "receipt"))
    except plane.InvalidPacket as error:
        return _malformed(error.message)
    checked = [_Checked.of(each, plane.verify_proof(each, keys)) for each in proofs]
    ok = all(each.verdict.ok for each in checked)
    return Answer(
        document={"ok": ok, "receipts": [each.document() for each in checked]},
        show=lambda paper: _show(paper, checked) if len(checked) == 1 else _show_all(paper, checked),
        exit_code=DONE if ok else NOT_VERIFIED,
    )


def _malformed(problem: str) -> "Answer":
    from interlock.cli.complaint import NOT_VERIFIED
    from interlock.cli.desk import Answer

    def show(paper: "Paper") -> None:
        paper.line(paper.state("malformed"), _SENTENCES["malformed"])
        paper.line("  ", problem)

    document: JSON = {"ok": False, "status": "malformed", "meaning": _SENTENCES["malformed"], "problem": problem}
    return Answer(document=document, show=show, exit_code=NOT_VERIFIED)


def _show(paper: "Paper", checked: Sequence[_Checked]) -> None:
    from interlock.cli.text import moment

    [(receipt, verdict)] = checked
    paper.line(paper.state(verdict.status.value), _SENTENCES[verdict.status.value])
    paper.fields(
        [
            ("wrong link", None if verdict.link is None else f"{verdict.link} of {len(receipt.evidence)}"),
            ("intent", receipt.intent_id),
            ("node", receipt.node_id),
            ("target", receipt.target_id),
            ("delivery", receipt.delivery.value),
            ("failure", None if receipt.failure is None else receipt.failure.code),
            ("finished", moment(receipt.finished_at)),
            ("signed by", verdict.signer),
        ]
    )


def _show_all(paper: "Paper", checked: Sequence[_Checked]) -> None:
    """How many of each kind, and which are not proven."""
    from interlock.cli.text import moment

    statuses = [each.verdict.status.value for each in checked]
    for status in dict.fromkeys(statuses):
        paper.line(str(statuses.count(status)), paper.state(status), _SENTENCES[status])
    rows = [
        (
            str(number),
            paper.state(verdict.status.value),
            receipt.intent_id,
            receipt.node_id,
            moment(receipt.finished_at),
        )
        for number, (receipt, verdict) in enumerate(checked, start=1)
        if not verdict.ok
    ]
    if rows:
        paper.table(("line", "status", "intent", "node", "finished"), rows)
