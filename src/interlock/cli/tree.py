"""All commands in one tree. Another one is a module with `register(tree)` and a line in `_MODULES`."""

import inspect
from typing import Annotated

import typer

from interlock.cli import (
    accounts,
    agents,
    approving,
    artifacts,
    browsing,
    conforming,
    connecting,
    delivering,
    demo,
    dispatching,
    examining,
    executing,
    following,
    hosting,
    inferring,
    invoking,
    issuing,
    keeping,
    polling,
    providing,
    proxying,
    remembering,
    reviewing,
    routing,
    scheduling,
    serving,
    starting,
    subscribing,
    tooling,
    working,
)
from interlock.cli.frame import Group, share

_MODULES = (
    demo,
    starting,
    examining,
    browsing,
    providing,
    connecting,
    accounts,
    hosting,
    issuing,
    keeping,
    invoking,
    proxying,
    approving,
    following,
    dispatching,
    working,
    routing,
    delivering,
    artifacts,
    subscribing,
    reviewing,
    executing,
    scheduling,
    polling,
    remembering,
    serving,
    agents,
    inferring,
    tooling,
    conforming,
)

ABOUT = """Every effect of agents and apps is authorised before it happens, done once, and provable afterwards.

Begin with `interlock init`, then `interlock connect`, then `interlock invoke`. Each command explains itself with an
example: `interlock invoke --help`. The options below may also stand after any command.
"""

EPILOG = """\b
Exit codes:
  0  done
  1  failed: the service, the plane or Interlock could not do it
  2  usage: wrong request, unknown name, conflict, wrong settings, key or connection
  3  denied or shed by policy or a budget
  4  held: it waits for an approval
  5  unknown outcome: it may have happened; `interlock runs settle` settles it
  6  not verified: a packet is altered, or its signer is not trusted
  7  store: missing, damaged, full, out of date
  130  interrupted: Ctrl-C (129: the terminal is gone, 143: SIGTERM)
"""


def tree() -> typer.Typer:
    """The whole command line."""
    made = typer.Typer(name="interlock", cls=Group, rich_markup_mode=None, pretty_exceptions_enable=False)
    version = inspect.Parameter(
        "version",
        inspect.Parameter.KEYWORD_ONLY,
        annotation=Annotated[bool, typer.Option("--version", help="Print the version.")],
        default=False,
    )
    share(made, ABOUT, version, epilog=EPILOG)
    for module in _MODULES:
        module.register(made)
    return made
