"""`interlock conformance`: whether a lane, a target, a verifier or a memory provider keeps what it promises."""

from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli.frame import command, group

if TYPE_CHECKING:
    from interlock import conformance
    from interlock.cli.desk import Answer, Desk
    from interlock.cli.paper import Paper


def register(tree: typer.Typer) -> None:
    """Add the commands of this module."""
    suites = group(
        tree, "conformance", "Try whether a lane, a target, a verifier or a memory provider keeps its promises."
    )
    command(suites, "lane")(lane)
    command(suites, "target")(target)
    command(suites, "verifier")(verifier)
    command(suites, "memory")(memory)


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


async def memory(
    desk: "Desk",
    *,
    provider: Annotated[str, typer.Argument(metavar="PROVIDER", help="Which: `interlock memory providers`.")],
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="What it is opened with; {folder} is new for each case."),
    ] = None,
    level: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="core, search, temporal or lifecycle; else all.")
    ] = None,
    case: Annotated[list[str] | None, typer.Option(metavar="ID", help="This case alone; may be repeated.")] = None,
    seconds: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=1, max=600, help="For each case.")
    ] = 30.0,
) -> "Answer":
    """Put a memory provider through the contract kit: ours, or that of an installed package.

    More than a hundred cases, by level; what it does not offer is skipped. Each case is tried in a child process, with storage
    of its own: in --set, {folder} stands for a new folder, and {case} for a word that no other case has. A provider that hangs
    or dies fails the case. --json prints the report that a provider publishes.

    Example:
      interlock conformance memory sqlite --level core
    """
    from interlock import conformance
    from interlock.cli import inputs

    del desk
    config = inputs.parse_pairs(setting or (), {})
    return _answer(
        await conformance.check_memory(provider, config, levels=level or None, only=case or None, patience=seconds)
    )


def _answer(report: "conformance.Report") -> "Answer":
    from interlock import conformance
    from interlock.cli.desk import Answer

    def show(paper: "Paper") -> None:
        paper.table(conformance.COLUMNS, [(name, paper.state(verdict), text) for name, verdict, text in report.rows()])
        for level, told in report.levels:
            paper.line(f"{report.kind} {report.subject}, level {level}:", told)
        counts = ", ".join(f"{report.count(verdict)} {verdict}" for verdict in conformance.Verdict)
        paper.line(f"{report.kind} {report.subject}: {counts}")

    return Answer(document=report.record(), show=show, exit_code=0 if report.passed else 1)
