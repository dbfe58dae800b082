"""`interlock agent eval`: cases of an agent, and what came of them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.cli.frame import command
from interlock.cli.text import counted

if TYPE_CHECKING:
    from interlock import agents
    from interlock.cli.desk import Answer, Desk
    from interlock.cli.paper import Paper

FAILED = 1
"""The exit code where a case did not pass."""


def register(agent: typer.Typer) -> None:
    """Add the command of this module."""
    command(agent, "eval")(evaluate)


async def evaluate(
    desk: "Desk",
    *,
    cases: Annotated[str, typer.Argument(metavar="CASES", help="The cases: YAML or JSON.")],
    spec: Annotated[
        str | None, typer.Option(metavar="FILE", help="The agent's spec, in place of the cases' own.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Ask this one: provider:name; for cases without a script.")
    ] = None,
    junit: Annotated[str | None, typer.Option(metavar="FILE", help="Write the report as JUnit's XML, too.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> "Answer":
    """Ask an agent what its cases say, and tell what of that which is expected held.

    Each case is a turn as any other, on record and under policy; with a script, a model says just that, and nothing leaves the
    machine. The exit code is 1 if a case did not pass.

    Example:
      interlock agent eval cases.yaml --junit report.xml
    """
    from interlock import agents
    from interlock.cli import files, specs
    from interlock.cli.desk import Answer
    from interlock.cli.errors import Usage
    from interlock.testing import models

    content = files.read(cases, "cases", limit=agents.evals.LIMITS.max_bytes)
    suite = agents.evals.read_suite(content, source=cases)
    if model is not None:
        suite = suite.model_copy(update={"model": "fake:echo" if model == "fake" else model})
    file = spec or (None if suite.agent is None else str(Path(cases).parent / suite.agent))
    if file is None:
        raise Usage("the cases name no `agent`: say which one, --spec FILE")
    async with desk.open_here(acting=True, models={"fake": models.of_cases(suite)}) as il:
        read = specs.read(desk, file, complete=True, registry=il.agents.registry)
        report = await il.agents.evaluate(read, suite)
    if junit is not None:
        files.write(junit, report.to_junit(), "report", force=force)
    return Answer(
        document=report.to_json(), show=lambda paper: _show(paper, report), exit_code=0 if report.passed else FAILED
    )


def _show(paper: "Paper", report: "agents.evals.Report") -> None:
    for each in report.cases:
        seen = each.seen
        took = (
            "" if seen is None else f"{counted(seen.rounds, 'round')}, {counted(seen.tokens, 'token')}, {seen.run_id}"
        )
        paper.line(paper.state("ok" if each.passed else "failed"), f"{each.name}: {took}".rstrip(": "))
        if each.error is not None:
            paper.line(f"  {each.error.get('code')}: {each.error.get('message')}")
        for finding in each.findings:
            if not finding.held:
                paper.line(f"  not so: {finding.text}")
    passed = sum(each.passed for each in report.cases)
    paper.line(f"{report.agent_id}: {passed} of {len(report.cases)} cases passed")
