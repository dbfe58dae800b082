"""`interlock doctor` and `interlock migrate`: is everything as it should be?"""

from typing import TYPE_CHECKING

import typer

from interlock.cli.frame import command

if TYPE_CHECKING:
    from interlock.cli.desk import Answer, Desk
    from interlock.cli.paper import Paper


def register(tree: typer.Typer) -> None:
    """Add the commands of this module."""
    command(tree, "doctor")(doctor)
    command(tree, "migrate")(migrate)


async def doctor(desk: "Desk") -> "Answer":
    """Check settings, policy, connectors, key and store. Changes nothing.

    The exit code is 2 if the settings, the policy or the key are wrong, and 7 if the store is.

    Example:
      interlock doctor
    """
    from interlock import app
    from interlock.cli.complaint import exit_code
    from interlock.cli.desk import Answer
    from interlock.cli.paper import Ink
    from interlock.kernel import JSON

    checks = await app.examine(desk.find_file(), desk.flags)
    failed = [check.error for check in checks if check.error is not None]

    def show(paper: "Paper") -> None:
        paper.table(
            ("check", "", "found"),
            [(check.name, paper.state(check.health.value), check.found.partition("\n")[0]) for check in checks],
        )
        for error in failed:
            for line in error.message.splitlines()[1:]:
                paper.line(line)
            paper.line(Ink("next:", "code"), error.next_step)

    documents: list[JSON] = [check.to_json() for check in checks]
    code = exit_code(failed[0]) if failed else 0
    return Answer(document={"healthy": not failed, "checks": documents}, show=show, exit_code=code)


def migrate(desk: "Desk") -> "Answer":
    """Bring the store up to date with this version of Interlock.

    Make a backup first, unless it is still empty.

    Example:
      interlock migrate --store postgresql://db.internal/interlock
    """
    from interlock import app
    from interlock.cli.desk import Answer

    report = app.migrate(desk.kept(desk.settings()))

    def show(paper: "Paper") -> None:
        if report.applied:
            paper.line(f"The store went from revision {report.before or 'none'} to {report.after}.")
        else:
            paper.line(f"The store is up to date (revision {report.after}).")

    document = {"before": report.before, "after": report.after, "applied": list(report.applied)}
    return Answer(document=document, show=show)
