"""The intent of a process: a command as its arguments, never as a line for a shell."""

from functools import cached_property
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, StringConstraints, field_validator, model_validator
from pydantic.json_schema import SkipJsonSchema

from interlock.kernel import digest_bytes
from interlock.plane.attach import CredentialHandleRef
from interlock.plane.classes import Property
from interlock.plane.contract import Contract, Digest, Name
from interlock.plane.credentials import FieldName, SecretRef
from interlock.plane.intent import HostPort, Intent, Milliseconds
from interlock.plane.sandbox import AbsolutePath, EnvName, Network, ResourceLimits, SandboxProfile

DEFAULT_PATH: Final = "/usr/local/bin:/usr/bin:/bin"
"""Where a command without a slash is looked up when the intent lists no PATH. The command itself is not told of it."""

MAX_ARGUMENTS: Final = 4096
"""Arguments in one command."""

MAX_COMMAND_BYTES: Final = 1_048_576
"""Bytes of all arguments and variables together; Linux takes about twice as much."""

FIRST_FD: Final = 3
LAST_FD: Final = 63
"""The file descriptors by which secrets may be handed over."""

Text = Annotated[str, StringConstraints(max_length=131_071, pattern=r"^[^\x00]*$")]


class ProcessSecret(Contract):
    """A secret by reference: the field `field` of the lease `handle`, meant for the service `host`, as the value of the
    variable `env` or ready to be read, once and to its end, from the descriptor `fd`. It is never an argument."""

    handle: Name
    field: FieldName
    host: HostPort
    env: EnvName | None = None
    fd: Annotated[int, Field(ge=FIRST_FD, le=LAST_FD)] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.env is None) is (self.fd is None):
            raise ValueError("a secret goes into a variable or to a descriptor, one of both")
        return self

    @property
    def ref(self) -> SecretRef:
        """As a credential resolver takes it."""
        return SecretRef(self.handle, self.field)


class TerminalSize(Contract):
    """Of a pseudo-terminal, in characters."""

    rows: Annotated[int, Field(ge=1, le=10_000)] = 24
    columns: Annotated[int, Field(ge=1, le=10_000)] = 80


def _digest_of_stdin(fields: dict[str, Any]) -> str:
    return digest_bytes(fields["stdin"])


def _size_of_stdin(fields: dict[str, Any]) -> int:
    return len(fields["stdin"])


class ProcessIntent(Intent):
    """One command. Its environment is what `env` and `secrets` list and nothing else. `stdin` travels beside the record,
    which holds its digest and size; an `interactive` command reads further input after it, until the input ends. With a
    `terminal`, all three streams are one pseudo-terminal and what it shows is `stdout`. `output` by `lines` makes one
    event of each line, its end included. `stderr` may be `merged` into stdout. `total_ms` is the time on the wall;
    whoever ends the command early sends TERM, waits `grace_ms`, and kills all that is left of it."""

    contract: Literal["interlock.process-intent/v1"] = "interlock.process-intent/v1"
    argv: tuple[Text, ...] = Field(min_length=1, max_length=MAX_ARGUMENTS)
    cwd: AbsolutePath = "/"
    env: tuple[tuple[EnvName, Text], ...] = Field(default=(), max_length=1024)
    secrets: tuple[ProcessSecret, ...] = Field(default=(), max_length=64)
    stdin: SkipJsonSchema[bytes] = Field(default=b"", exclude=True, repr=False)
    stdin_digest: Digest = Field(default_factory=_digest_of_stdin)
    stdin_size: Annotated[int, Field(ge=0)] = Field(default_factory=_size_of_stdin)
    interactive: bool = False
    terminal: TerminalSize | None = None
    output: Literal["raw", "lines"] = "raw"
    stderr: Literal["apart", "merged"] = "apart"
    max_ms: Milliseconds = 60_000
    grace_ms: Annotated[int, Field(ge=0, le=60_000)] = 2_000
    max_output_bytes: Annotated[int, Field(ge=0, le=2**40)] = 8_388_608
    limits: ResourceLimits = ResourceLimits()
    sandbox: SandboxProfile | None = None

    @field_validator("argv")
    @classmethod
    def _check_argv(cls, argv: tuple[str, ...]) -> tuple[str, ...]:
        if not argv[0]:
            raise ValueError("the command itself is empty")
        return argv

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = [name for name, _value in self.env] + [secret.env for secret in self.secrets if secret.env is not None]
        fds = [secret.fd for secret in self.secrets if secret.fd is not None]
        if len(names) != len(set(names)) or len(fds) != len(set(fds)):
            raise ValueError("a variable or a descriptor is given twice")
        if self.sandbox is not None and self.sandbox.env is not None and (extra := set(names) - set(self.sandbox.env)):
            raise ValueError(f"the sandbox does not let these variables in: {', '.join(sorted(extra))[:500]}")
        if self.terminal is not None and self.stdin and not self.interactive:
            raise ValueError("a terminal is typed into: send its input while it runs (`interactive`)")
        size = sum(len(text.encode()) + 9 for pair in (self.argv, *self.env) for text in pair)
        if size > MAX_COMMAND_BYTES:
            raise ValueError(f"the command has {size} bytes; the limit is {MAX_COMMAND_BYTES}")
        return self

    @property
    def total_ms(self) -> int:
        if self.sandbox is None or self.sandbox.total_ms is None:
            return self.max_ms
        return min(self.max_ms, self.sandbox.total_ms)

    @cached_property
    def effective_limits(self) -> ResourceLimits:
        """Its own limits within those of its sandbox."""
        return self.limits if self.sandbox is None else self.limits.within(self.sandbox.limits)

    @property
    def needs(self) -> frozenset[str]:
        reaches = self.sandbox is not None and self.sandbox.network is Network.HOSTS
        return frozenset({Property.NETWORK_HOSTS}) if reaches else frozenset()

    @property
    def handles(self) -> tuple[CredentialHandleRef, ...]:
        """Its secrets, as whoever attaches to a target names them: of the kind `env` or `descriptor`, for their host."""
        return tuple(
            CredentialHandleRef(
                handle=secret.handle, kind="descriptor" if secret.env is None else "env", audience=secret.host
            )
            for secret in self.secrets
        )

    @property
    def collected(self) -> tuple[str, int]:
        return "stdout", self.max_output_bytes

    @property
    def beside(self) -> bytes:
        return self.stdin

    def _with(self, beside: bytes) -> Self:
        return self.model_copy(update={"stdin": beside})

    @property
    def has_body(self) -> bool:
        """Whether the input at hand is the one that the record speaks of."""
        return len(self.stdin) == self.stdin_size and digest_bytes(self.stdin) == self.stdin_digest
