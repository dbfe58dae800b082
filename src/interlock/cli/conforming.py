"""`interlock conformance`: whether a lane or a target keeps what its port promises."""

from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli.frame import command, group

if TYPE_CHECKING:
    from interlock import conformance
    from interlock.cli.desk import Answer, Desk
    from interlock.cli.paper import Paper


def register(tree: typer.Typer) -> None:
    """Add the commands of this module."""
    suites = group(tree, "conformance", "Try whether a lane or a target keeps what its port promises.")
    command(suites, "lane")(lane)
    command(suites, "target")(target)


async def lane(desk: "Desk", name: Annotated[str, typer.Argument(metavar="NAME", help="The lane.")]) -> "Answer":
    """Put a lane through the suite: ours, or that of an installed package.

    Takes some seconds. Exit code 1 if a check failed; a check that was skipped says why.

    Example:
      interlock conformance lane http
    """
    from interlock import conformance

    del desk
    return _answer(await conformance.check_lane(name, conformance.find_lane(name)))


async def target(desk: "Desk", name: Annotated[str, typer.Argument(metavar="NAME", help="The target.")]) -> "Answer":
    """Put a place for commands on this host through the suite.

    It is probed, and then programs inside of it try what its class promises to stop.

    Example:
      interlock conformance target local-landlock
    """
    from interlock import conformance

    del desk
    return _answer(await conformance.check_target(name, conformance.find_target(name)))


def _answer(report: "conformance.Report") -> "Answer":
    from interlock import conformance
    from interlock.cli.desk import Answer

    def show(paper: "Paper") -> None:
        paper.table(conformance.COLUMNS, [(name, paper.state(verdict), text) for name, verdict, text in report.rows()])
        counts = ", ".join(f"{report.count(verdict)} {verdict}" for verdict in conformance.Verdict)
        paper.line(f"{report.kind} {report.subject}: {counts}")

    return Answer(document=report.record(), show=show, exit_code=0 if report.passed else 1)
