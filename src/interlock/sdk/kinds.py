"""What an operation is, as data: an HTTP request, a command, or a script."""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from interlock.kernel import HOST_PORT
from interlock.sdk.terms import FailureCode, Name, Part, Status, Text

TargetClass: TypeAlias = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,99}$")]
Variable: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")]
HostPath: TypeAlias = Annotated[str, Field(pattern=r"^/[^\x00]*$", max_length=4096)]
HostPort: TypeAlias = Annotated[str, Field(max_length=280, pattern=HOST_PORT)]
Argument: TypeAlias = Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00]*$")]


class HttpOperation(Part):
    """One HTTP request as data.

    Every `{field}` of `path` is an input field. `query` and `body` map input fields to parameters and to members (or
    JSON pointers) of the body; the fields that neither path, query, `local` nor pagination take go into the body, or
    into the query for GET and DELETE, under their own names. `constants` are fixed members of the body; `encode` names
    a transformation of a field on its way out. `safe` says that a POST only reads, as a search does (RFC 9110 §9.2.1); a read
    by another method than GET has to say so. `proxied` is said by Interlock's own proxies only: the input makes up the
    request, which may be a HEAD.
    """

    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
    path: Text
    query: dict[str, Text] = Field(default={})
    body: dict[str, Text] = Field(default={})
    constants: dict[str, Any] = Field(default={})
    encode: dict[str, Literal["base64", "git_blob_sha", "json"]] = Field(default={})
    local: tuple[str, ...] = ()
    headers: dict[str, Text] = Field(default={})
    success: tuple[Status, ...] = (200, 201, 204)
    conditional: bool = False
    safe: bool = False
    proxied: bool = False


class CommandSecret(Part):
    """The secret field of the connection, as a variable or ready to be read from a file descriptor (3 to 63)."""

    field: Name
    env: Variable | None = None
    fd: int | None = Field(default=None, ge=3, le=63)


class Confinement(Part):
    """What a command may touch where it runs; all else is closed to it. Paths are the host's; `write` includes reading.
    `hosts` (HOST:PORT) are listed for the network `hosts`, and for no other.
    The limits are those of all its processes together (`total_memory_bytes`, `processes`) or of each (the others)."""

    read: tuple[HostPath, ...] = ()
    write: tuple[HostPath, ...] = ()
    network: Literal["none", "loopback", "hosts"] = "none"
    hosts: tuple[HostPort, ...] = Field(default=(), max_length=256)
    total_memory_bytes: int | None = Field(default=None, ge=1_048_576, le=2**48)
    processes: int | None = Field(default=None, ge=1, le=100_000)
    memory_bytes: int | None = Field(default=None, ge=1_048_576, le=2**48)
    cpu_seconds: int | None = Field(default=None, ge=1, le=86_400)
    files: int | None = Field(default=None, ge=8, le=1_048_576)
    file_bytes: int | None = Field(default=None, ge=0, le=2**48)


class CommandOperation(Part):
    """One command as data; there is no shell.

    Every `{field}` of `argv` and `env` is an input field; `stdin` names the field whose text the command reads. The
    environment is `env` and `secrets`, and nothing else. `output` says what stdout is: `json`, or `text`, which becomes the
    member `stdout`. `refusals` are the exit codes by which the command says that it did nothing; after any other but 0,
    nobody knows. `targets` are the classes of targets on which it may run, best first, and `confinement` what it may touch there;
    without a confinement it runs on `local-process` only, which confines nothing.
    """

    argv: tuple[Argument, ...] = Field(min_length=1, max_length=1000)
    env: dict[Variable, Argument] = Field(default={})
    secrets: tuple[CommandSecret, ...] = ()
    stdin: Name | None = None
    cwd: HostPath = "/"
    output: Literal["text", "json"] = "text"
    refusals: dict[Annotated[str, Field(pattern=r"^[1-9]\d{0,2}$")], FailureCode] = Field(default={})
    targets: tuple[TargetClass, ...] = Field(
        default=("local-bubblewrap", "container-runc", "local-landlock"), min_length=1, max_length=20
    )
    confinement: Confinement | None = None


class ScriptOperation(Part):
    """A small program (docs/plane-scripts.md). It sees the operation's input as `input`, and the value of its last expression
    is the output. `actions` are what it may ask for: the names that it calls, and the capabilities that they stand for. Each
    call is a run of its own, under the policy for that capability."""

    source: Annotated[str, Field(min_length=1, max_length=262_144)]
    actions: dict[Name, Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.]*$", max_length=200)]] = Field(default={})
    run_ms: int = Field(default=5_000, ge=1, le=600_000)
    memory_bytes: int = Field(default=33_554_432, ge=1_048_576, le=2**30)
    output_bytes: int = Field(default=65_536, ge=0, le=2**26)
    max_actions: int = Field(default=100, ge=0, le=1000)
