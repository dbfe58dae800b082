"""`interlock conformance`: whether a lane, a target or a verifier keeps what its port promises."""

from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli.frame import command, group

if TYPE_CHECKING:
    from interlock import conformance
    from interlock.cli.desk import Answer, Desk
    from interlock.cli.paper import Paper


def register(tree: typer.Typer) -> None:
    """Add the commands of this module."""
    suites = group(tree, "conformance", "Try whether a lane, a target or a verifier keeps its promises.")
    command(suites, "lane")(lane)
    command(suites, "target")(target)
    command(suites, "verifier")(verifier)


async def lane(desk: "Desk", name: Annotated[str, typer.Argument(metavar="NAME", help="The lane.")]) -> "Answer":
    """Put a lane through the suite: ours, or that of an installed package.

    Takes some seconds. Exit code 1 if a check failed; a check that was skipped says why.

    Example:
      interlock conformance lane http
    """
    from interlock import conformance

    del desk
    return _answer(await conformance.check_lane(name, conformance.LANES.find(name)))


async def target(desk: "Desk", name: Annotated[str, typer.Argument(metavar="NAME", help="The target.")]) -> "Answer":
    """Put a target for commands through the suite: one of this host, or that of an installed package.

    It is probed, and then programs inside of it try what its class promises to stop.

    Example:
      interlock conformance target local-landlock
    """
    from interlock import conformance

    del desk
    return _answer(await conformance.check_target(name, conformance.TARGETS.find(name)))


async def verifier(
    desk: "Desk", name: Annotated[str, typer.Argument(metavar="NAME", help="The verifier.")]
) -> "Answer":
    """Put a verifier of authority or of attestations through the suite: ours, or that of an installed package.

    It is given the true word, and then what is expired, altered, foreign, for something else, or used before.

    Example:
      interlock conformance verifier authority-signature
    """
    from interlock import conformance

    del desk
    return _answer(await conformance.check_verifier(name, conformance.VERIFIERS.find(name)))


def _answer(report: "conformance.Report") -> "Answer":
    from interlock import conformance
    from interlock.cli.desk import Answer

    def show(paper: "Paper") -> None:
        paper.table(conformance.COLUMNS, [(name, paper.state(verdict), text) for name, verdict, text in report.rows()])
        counts = ", ".join(f"{report.count(verdict)} {verdict}" for verdict in conformance.Verdict)
        paper.line(f"{report.kind} {report.subject}: {counts}")

    return Answer(document=report.record(), show=show, exit_code=0 if report.passed else 1)
