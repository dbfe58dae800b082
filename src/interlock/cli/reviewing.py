"""`interlock review`: proof for others of what was done."""

from typing import TYPE_CHECKING, Annotated, Final

import typer

from interlock.cli.frame import command, group

if TYPE_CHECKING:
    from interlock import runs
    from interlock.cli.desk import Answer, Desk
    from interlock.cli.paper import Paper

_SENTENCES: Final = {
    "verified": "Every byte is as it was sealed, and the signer is one that you trust.",
    "intact_signer_unknown": (
        "The packet is intact, but anyone could have signed it: its key is not one that you said you trust. "
        "Ask whoever runs the installation for its trust file (`interlock review trust -o trust.json`) and pass it: "
        "`--trust trust.json`."
    ),
    "wrong_signer": "The packet is intact, but it was signed by a key that is not in your trust file.",
    "altered": "The packet was changed after it was sealed. Do not rely on it.",
    "malformed": "This is not a packet, or a damaged one. Do not rely on it.",
    "newer_version": "The packet was made by a newer Interlock. Verify it with that version or a later one.",
}


def register(tree: typer.Typer) -> None:
    """Add the commands of this module."""
    reviewing = group(tree, "review", "Packets that prove what a run did, to anyone, offline.")
    command(reviewing, "export")(export)
    command(reviewing, "verify")(verify)
    command(reviewing, "trust")(trust)


async def export(
    desk: "Desk",
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")],
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="Where to; - is stdout.")],
    *,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> "Answer | None":
    """Write a run's review packet.

    It holds the run's events, sends, decisions, approvals and artifacts, signed.

    Example:
      interlock review export run_01890a5d… -o packet.json
    """
    from interlock.cli import files
    from interlock.kernel import digest_bytes

    async with desk.open() as il:
        packet = await il.runs.packet(run_id)
    files.write(output, packet, "packet", force=force)
    return _written(output, packet, {"run_id": run_id, "digest": digest_bytes(packet)}, "packet")


def verify(
    desk: "Desk",
    packet: Annotated[
        str, typer.Argument(metavar="FILE", help="The packet; - is stdin. Or an archive, or a folder of archives.")
    ],
    trust_file: Annotated[str | None, typer.Option("--trust", metavar="FILE", help="Keys that you trust.")] = None,
) -> "Answer":
    """Verify a packet, offline; or all packets of archives, and that none was taken out.

    No store, no settings and no network are needed. The exit code is 6 unless it is verified. A packet never vouches for
    its own signer: pass the keys that you trust.

    Example:
      interlock review verify packet.json --trust .interlock/trust.json
      interlock review verify /var/archives --trust .interlock/trust.json
    """
    from interlock import runs
    from interlock.cli import files, proving_archives
    from interlock.cli.complaint import DONE, NOT_VERIFIED
    from interlock.cli.desk import Answer

    trusted = None
    if trust_file is not None:
        trusted = runs.Trust.parse(files.read(trust_file, "trust file"), source=f"trust file {trust_file}")
    if (archives := proving_archives.find(packet)) is not None:
        return proving_archives.verify(archives, trusted, shows=not desk.options.as_json)
    verdict = runs.verify.verify(files.read(packet, "packet"), trust=trusted)
    document = {**verdict.to_json(), "ok": verdict.ok, "meaning": _SENTENCES[verdict.status.value]}
    return Answer(
        document=document,
        show=lambda paper: _show(paper, verdict),
        exit_code=DONE if verdict.ok else NOT_VERIFIED,
    )


async def trust(
    desk: "Desk",
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="Where to; - is stdout.")] = "-",
    *,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> "Answer | None":
    """Write this installation's trust file.

    It holds the public keys that packets are signed with, and no secret.

    Example:
      interlock review trust -o trust.json
    """
    from interlock.cli import files

    async with desk.open() as il:
        keys = await il.trust()
    files.write(output, keys + b"\n", "trust file", force=force)
    return _written(output, keys, {}, "trust file")


def _written(output: str, content: bytes, document: "dict[str, str]", what: str) -> "Answer | None":
    """What stdout got is the answer itself; of a file people are told."""
    from interlock.cli.desk import Answer

    if output == "-":
        return None
    told = {**document, "file": output, "size": len(content)}
    return Answer(document=told, show=lambda paper: paper.line(f"{output}: {what} of {len(content)} bytes"))


def _show(paper: "Paper", verdict: "runs.verify.Verdict") -> None:
    from interlock.cli.paper import Ink

    paper.line(paper.state(verdict.status.value), _SENTENCES[verdict.status.value])
    for problem in verdict.problems:
        paper.line("  ", Ink(problem.where, "strong"), problem.what)
    paper.fields(
        [
            ("run", verdict.run_id),
            ("tenant", verdict.tenant_id),
            ("state", verdict.state),
            ("events", str(verdict.events) if verdict.events else None),
            ("exported", verdict.exported_at),
            ("signed by", ", ".join(verdict.signers) or None),
            ("note", None if verdict.ended or verdict.run_id is None else "the run had not ended: it may have gone on"),
        ]
    )
