"""How a function becomes a command: the options that all commands share, and one place where errors end.

A command is a function of a `Desk` and its own parameters, which Typer reads from their annotations; it may be async, and
returns an `Answer`. Heavy imports happen inside the functions, so that help is quick.
"""

import inspect
import re
import signal
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from interlock.cli import streams

if TYPE_CHECKING:
    from interlock.cli.desk import Answer, Desk
    from interlock.cli.errors import Usage
    from interlock.kernel import InterlockError

F = TypeVar("F", bound=Callable[..., Any])
_Given: TypeAlias = dict[str, Any]


_SENTENCE = 300
"""Characters of a first sentence in a list of commands: it is wrapped, and none is cut off."""


class _Command(TyperCommand):
    def get_short_help_str(self, limit: int = _SENTENCE) -> str:
        return super().get_short_help_str(max(limit, _SENTENCE))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        with _blamed(ctx):
            return super().parse_args(ctx, args)


class Group(TyperGroup):
    """A group of commands."""

    def get_short_help_str(self, limit: int = _SENTENCE) -> str:
        return super().get_short_help_str(max(limit, _SENTENCE))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        with _blamed(ctx):
            return super().parse_args(ctx, args)


@contextmanager
def _blamed(ctx: Any) -> Generator[None]:
    """Typer forgets whose option it is that lacks its value."""
    try:
        yield
    except typer.TyperException as error:
        if getattr(error, "ctx", None) is None:
            vars(error)["ctx"] = ctx
        raise


_SETTINGS = {"help_option_names": ["--help", "-h"]}
_EXAMPLE = re.compile(r"(?<!\x08\n)^Example:\n", re.MULTILINE)

_SHARED: dict[str, tuple[Any, Any]] = {
    "as_json": (Annotated[bool, typer.Option("--json", help="Print one JSON document.")], False),
    "store": (Annotated[str | None, typer.Option(metavar="URL", help="The store: a path or a database URL.")], None),
    "config": (Annotated[str | None, typer.Option(metavar="FILE", help="The settings file.")], None),
    "tenant": (Annotated[str | None, typer.Option(metavar="NAME", help="The tenant to work in.")], None),
    "actor": (Annotated[str | None, typer.Option(metavar="NAME", help="Whom to act as.")], None),
    "server": (
        Annotated[str | None, typer.Option(metavar="URL", help="Ask this server; the token is in INTERLOCK_TOKEN.")],
        None,
    ),
    "verbose": (Annotated[bool, typer.Option("--verbose", "-v", help="Say more when something fails.")], False),
}
"""The options that may stand before or after any command: annotation and default."""


def command(parent: typer.Typer, name: str) -> Callable[[F], F]:
    """Make a function the command `name` of a group. Its docstring is the help."""

    def register(function: F) -> F:
        own = list(inspect.signature(function).parameters.values())[1:]

        def carried(ctx: typer.Context, **values: Any) -> None:
            given = _keep(ctx, values)
            raise typer.Exit(_run(function, given, {each.name: values[each.name] for each in own}, ctx))

        context = inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
        _dress(carried, function.__doc__, [context, *(each.replace(kind=context.kind) for each in own), *_parameters()])
        parent.command(name, cls=_Command, context_settings=_SETTINGS)(carried)
        return function

    return register


def group(parent: typer.Typer, name: str, about: str) -> typer.Typer:
    """A group of commands, which takes the shared options too."""
    made = typer.Typer(name=name, cls=Group, rich_markup_mode=None)
    share(made, about)
    parent.add_typer(made)
    return made


def share(tree: typer.Typer, about: str, *more: inspect.Parameter, epilog: str | None = None) -> None:
    """Let a group take the shared options in front of its commands."""

    def callback(ctx: typer.Context, **values: Any) -> None:
        given = _keep(ctx, values)
        if values.get("version"):
            raise typer.Exit(_run(_version, given, {}, ctx))
        if ctx.invoked_subcommand is None:
            if given.get("as_json"):
                raise typer.BadParameter("a command is missing")
            typer.echo(ctx.get_help())

    context = inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    _dress(callback, about, [context, *_parameters(), *more])
    tree.callback(epilog=epilog, invoke_without_command=True, context_settings=_SETTINGS)(callback)


def _parameters() -> list[inspect.Parameter]:
    kind = inspect.Parameter.KEYWORD_ONLY
    return [
        inspect.Parameter(name, kind, annotation=annotation, default=default)
        for name, (annotation, default) in _SHARED.items()
    ]


def _dress(function: Callable[..., Any], doc: str | None, parameters: list[inspect.Parameter]) -> None:
    """Give a function the signature that Typer shall see."""
    vars(function).update(__signature__=inspect.Signature(parameters), __annotations__={})
    # Typer would run the lines of an example together.
    function.__doc__ = _EXAMPLE.sub("\b\nExample:\n", inspect.cleandoc(doc or ""))


def _keep(ctx: typer.Context, values: _Given) -> _Given:
    """The shared options so far: what stands nearer to the command wins."""
    kept: _Given = ctx.meta.setdefault("interlock.options", {})
    kept.update({name: values[name] for name in _SHARED if values.get(name) not in (None, False)})
    return kept


def misused(error: typer.TyperException, *, as_json: bool, on_a_line: bool = False) -> int:
    """Say what is wrong with a command line that did not reach its command, and answer with the exit code."""
    from interlock.cli.complaint import USAGE, complain
    from interlock.cli.errors import Usage

    ctx: typer.Context | None = getattr(error, "ctx", None)
    usage = Usage(str(getattr(error, "format_message", lambda: error)()))
    option = getattr(error, "option_name", None)
    if (
        ctx is not None
        and option is not None
        and any(each.param_type_name == "argument" for each in ctx.command.params)
    ):
        usage.next_step = f"`{ctx.command_path} --help` shows its options; before a text that begins so goes `--`."
    complain(_about(usage, ctx), as_json=as_json, on_a_line=on_a_line)
    return USAGE


def _about(error: "Usage", ctx: typer.Context | None) -> "Usage":
    """The error with the usage line of its command."""
    if ctx is None:
        return error
    return error.about(ctx.command_path, " ".join(ctx.get_usage().split()).removeprefix("Usage: "))


def _run(function: Callable[..., Any], given: _Given, own: _Given, ctx: typer.Context) -> int:
    """Carry a command out, and answer with the exit code."""
    from interlock.cli.desk import Desk, Options

    options = Options(**given)
    desk = Desk(options)
    _listen(verbose=options.verbose)
    try:
        answer = _result(function, desk, own)
        return 0 if answer is None else _hand_over(answer, desk)
    except BrokenPipeError:
        return _pipe_closed()
    except streams.Unwritten as error:
        return unwritten(error.error)
    except KeyboardInterrupt as interrupt:
        from interlock.cli.errors import interrupted

        _fail(interrupted(run_id=desk.left_run, acts=desk.acts, leaves=desk.leaves), desk)
        return 128 + next(iter(interrupt.args), signal.SIGINT)
    except Exception as error:  # noqa: BLE001 - the end of the line: nothing reaches the user as a traceback
        from interlock.cli.errors import Usage, known

        told = known(error)
        return _fail(_about(told, ctx) if isinstance(told, Usage) else told, desk)


def _version(_: "Desk") -> "Answer":
    from interlock.cli.desk import Answer
    from interlock.kernel import VERSION

    return Answer(document={"version": VERSION}, show=lambda paper: paper.line(f"interlock {VERSION}"))


def _result(function: Callable[..., Any], desk: "Desk", own: _Given) -> "Answer | None":
    try:
        with streams.set_aside():
            if not inspect.iscoroutinefunction(function):
                return function(desk, **own)
            import anyio

            from interlock.cli import interrupting

            return anyio.run(interrupting.heard, partial(function, desk, **own))
    except ExceptionGroup as group:
        from interlock.cli.errors import first_of

        raise first_of(group) from group


def _hand_over(answer: "Answer", desk: "Desk") -> int:
    try:
        if desk.options.as_json:
            from interlock.cli.text import json_text
            from interlock.kernel import canonical

            text = canonical(answer.document).decode() if desk.on_lines else json_text(answer.document)
            sys.stdout.write(text + "\n")
        else:
            answer.show(desk.paper())
        sys.stdout.flush()
        if answer.error is not None and not desk.options.as_json:
            _fail(answer.error, desk)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise streams.Unwritten(error) from error
    return answer.exit_code


def unwritten(error: OSError) -> int:
    """Say on stderr that stdout takes nothing, and answer with the exit code."""
    from interlock.cli.complaint import complain, drop, exit_code
    from interlock.cli.errors import OutputLost

    if isinstance(error, BrokenPipeError):
        return _pipe_closed()
    drop(sys.stdout)
    lost = OutputLost.by(error)
    complain(lost, as_json=False)
    return exit_code(lost)


def _fail(error: "InterlockError", desk: "Desk") -> int:
    from interlock.cli.complaint import complain, exit_code

    options = desk.options
    complain(error, as_json=options.as_json, on_a_line=desk.on_lines, verbose=options.verbose)
    return exit_code(error)


def _pipe_closed() -> int:
    """Nobody reads any more."""
    from interlock.cli.complaint import PIPE_CLOSED, drop

    drop(sys.stdout)
    drop(sys.stderr)
    return PIPE_CLOSED


def _listen(*, verbose: bool) -> None:
    """Log records go to stderr as lines that are safe to show; on a terminal also what is being waited for."""
    import logging

    from interlock.cli.text import hanging
    from interlock.kernel import PROGRESS

    class Line(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            label = "waiting" if record.name == PROGRESS else record.levelname.lower()
            return f"{label}: {hanging(record.getMessage())}"

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Line())
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, handlers=[handler], force=True)
    logging.getLogger(PROGRESS).setLevel(logging.INFO if sys.stderr.isatty() else logging.NOTSET)
