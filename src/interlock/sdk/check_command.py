"""The invariants of what runs where Interlock does: commands and scripts."""

from collections.abc import Iterator
from typing import Final

from interlock.sdk import template
from interlock.sdk.errors import Problem
from interlock.sdk.kinds import CommandOperation, Confinement
from interlock.sdk.manifest import Idempotency, Operation, RuntimeClass
from interlock.sdk.partial import where_known
from interlock.sdk.requests import properties

_UNCONFINED: Final = "local-process"


def script_problems(path: str, operation: Operation) -> Iterator[Problem]:
    """What contradicts itself in its script, if it has one."""
    if operation.script is not None:
        yield from _local_problems(path, operation)


def command_problems(path: str, operation: Operation) -> Iterator[Problem]:
    """What contradicts itself in its command, if it has one."""
    command = operation.command
    if command is None:
        return
    yield from where_known(
        lambda: _local_problems(path, operation),
        lambda: _argument_problems(path, operation, command),
        lambda: _handed_problems(path, command),
        lambda: _confinement_problems(path, operation, command),
    )


def _local_problems(path: str, operation: Operation) -> Iterator[Problem]:
    """What belongs to requests only."""
    if operation.runtime_class is not RuntimeClass.DIRECT:
        yield Problem(path=path, problem=f"it is direct, not {operation.runtime_class}")
    if operation.idempotency is Idempotency.KEY:
        yield Problem(path=path, problem="it has no header for an idempotency key")
    if operation.reconcile is not None:
        yield Problem(path=path, problem="reconcile is about the answers of a service")


def _argument_problems(path: str, operation: Operation, command: CommandOperation) -> Iterator[Problem]:
    fields = properties(operation.input_schema)
    for place, text in (*enumerate(command.argv), *command.env.items()):
        for hole in template.fields_in(text):
            if hole not in fields:
                yield Problem(path=f"{path}[{place}]", problem=f"{{{hole}}} names no field of the input")
    if template.fields_in(command.argv[0]):
        yield Problem(path=f"{path}.argv[0]", problem="the command itself is fixed: no input may choose it")
    if command.stdin is not None and command.stdin not in fields:
        yield Problem(path=f"{path}.stdin", problem="the input has no such field")


def _handed_problems(path: str, command: CommandOperation) -> Iterator[Problem]:
    for secret in command.secrets:
        if (secret.env is None) == (secret.fd is None):
            yield Problem(
                path=f"{path}.secrets", problem="a secret goes into a variable or to a descriptor, one of both"
            )
    names = [*command.env, *(secret.env for secret in command.secrets if secret.env is not None)]
    fds = [secret.fd for secret in command.secrets if secret.fd is not None]
    if len(names) != len(set(names)) or len(fds) != len(set(fds)):
        yield Problem(path=path, problem="a variable or a descriptor is given twice")


def _confinement_problems(path: str, operation: Operation, command: CommandOperation) -> Iterator[Problem]:
    open_ones = [target for target in command.targets if target == _UNCONFINED]
    if command.confinement is None and len(open_ones) != len(command.targets):
        yield Problem(path=f"{path}.confinement", problem="these targets confine what it lists; say what it may touch")
    if command.confinement is not None and open_ones:
        yield Problem(path=f"{path}.targets", problem=f"{_UNCONFINED} confines nothing, and there is a confinement")
    if command.confinement is None and operation.sandbox != "none":
        yield Problem(path=f"{path}.confinement", problem=f"the sandbox level {operation.sandbox} needs one")
    confinement = command.confinement or Confinement()
    if bool(confinement.hosts) is not (confinement.network == "hosts"):
        yield Problem(path=f"{path}.confinement", problem="hosts are listed for the network `hosts`, and for no other")
    for place in (*confinement.read, *confinement.write):
        if ".." in place.split("/"):
            yield Problem(path=f"{path}.confinement", problem=f"the path {place[:200]!r} goes up")
