"""From an operation and its input to a command, and from what the command said to the operation's output. No I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from interlock.kernel import JSON, read_json
from interlock.sdk import requests, template
from interlock.sdk.errors import FAILURES, EffectState, InvalidArgument, OperationFailed, UnexpectedAnswer
from interlock.sdk.kinds import CommandOperation
from interlock.sdk.manifest import Effect, Operation
from interlock.sdk.projection import Source, project
from interlock.sdk.wire import Facts


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What is to be started: never a line for a shell, and without secrets."""

    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    stdin: bytes


def command(operation: Operation, spoken: CommandOperation, input: Mapping[str, JSON]) -> Command:  # noqa: A002
    """The command for an input that fits. An argument that names a field which is not given is left out; one that is
    nothing but a list becomes an argument for each of its elements. Raises InvalidArgument for a value that would be
    taken for an option, or that no argument can hold."""
    value = requests.with_defaults(operation.input_schema, input)
    argv: list[str] = []
    for part in spoken.argv:
        for argument in _arguments(part, value):
            if argument.startswith("-") and not part.startswith("-") and "--" not in argv:
                raise InvalidArgument(f"{operation.operation_id}: a value for {part} begins with a dash")
            argv.append(argument)
    env = [(name, text) for name, part in spoken.env.items() for text in _arguments(part, value)]
    if any("\0" in text for text in (*argv, *(text for _, text in env))):
        raise InvalidArgument(f"{operation.operation_id}: a value holds a NUL, which no argument can")
    stdin = value.get(spoken.stdin) if spoken.stdin is not None else None
    return Command(argv=tuple(argv), env=tuple(env), stdin=b"" if stdin is None else template.text_of(stdin).encode())


def command_output(
    operation: Operation,
    spoken: CommandOperation,
    stdout: bytes,
    input: Mapping[str, JSON],  # noqa: A002
    facts: Facts,
) -> JSON:
    """The output of a command that ended well. Raises UnexpectedAnswer."""
    effect: EffectState = "none" if operation.effect is Effect.READ else "happened"
    body: JSON = {"stdout": stdout.decode(errors="replace")}
    if spoken.output == "json":
        try:
            body = read_json(stdout)
        except ValueError as error:
            told = f"{operation.operation_id}: what the command wrote to stdout is not JSON"
            raise UnexpectedAnswer(told, effect=effect) from error
    return project(operation.output_schema, Source(body=body, input=input, subject=facts.subject), effect=effect)


def command_refusal(operation: Operation, spoken: CommandOperation, exit_code: int) -> OperationFailed | None:
    """What that exit code says, if it says that nothing was done."""
    code = spoken.refusals.get(str(exit_code))
    if code is None:
        return None
    return FAILURES[code](f"{operation.operation_id}: the command refused, with exit code {exit_code}", effect="none")


def script_input(operation: Operation, input: Mapping[str, JSON]) -> dict[str, JSON]:  # noqa: A002
    """What a script sees: the input with its schema's defaults."""
    return requests.with_defaults(operation.input_schema, input)


def script_output(operation: Operation, result: bytes, input: Mapping[str, JSON], facts: Facts) -> JSON:  # noqa: A002
    """The output of a script that ended well. Raises UnexpectedAnswer."""
    source = Source(body=read_json(result), input=input, subject=facts.subject)
    return project(operation.output_schema, source, effect="none" if operation.effect is Effect.READ else "happened")


def _arguments(part: str, value: Mapping[str, JSON]) -> list[str]:
    holes = template.fields_in(part)
    if any(hole not in value for hole in holes):
        return []
    whole = value[holes[0]] if holes and part == f"{{{holes[0]}}}" else None
    if isinstance(whole, Sequence) and not isinstance(whole, str):
        return [template.text_of(each) for each in whole]
    return [template.filled(part, {hole: template.text_of(value[hole]) for hole in holes})]
