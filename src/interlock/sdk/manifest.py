"""The manifest: everything there is to know about a connector, as data. The Python declaration and a file make it alike.

Schemas carry how answers become outputs, as annotations on properties (`schemas` makes them from Python models):
`x-from` (a JSON pointer into the answer at this level), `x-from-header`, `x-from-next` (a query parameter of the link to
the next page), `x-from-input` (a pointer into the input), `x-from-subject`, `x-const`; and on inputs `x-path: slashes`.
"""

from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, Final, Literal, TypeAlias, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from interlock.kernel import JSON, Retry, digest
from interlock.sdk.wire import SAFE_METHODS

CONTRACT: Final = "interlock.connector/v1"

Schema: TypeAlias = dict[str, Any]
"""A JSON Schema (2020-12) of an object."""


class Effect(StrEnum):
    """What an operation does to the world."""

    READ = "read"
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    EXECUTE = "execute"


class RuntimeClass(StrEnum):
    """How an operation lives: one call, a session with turns, or a stream."""

    DIRECT = "direct"
    SESSION = "session"
    STREAM = "stream"


class Idempotency(StrEnum):
    """What repeating means: nothing more changes; the service removes repeats by a key; or it happens again."""

    NATURAL = "natural"
    KEY = "key"
    NONE = "none"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


Text: TypeAlias = Annotated[str, Field(min_length=1, max_length=2000)]
Name: TypeAlias = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
DottedName: TypeAlias = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$", max_length=100)]
Function: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$", max_length=200)]
Status: TypeAlias = Annotated[int, Field(ge=100, le=599)]


class Probe(_Model):
    """How to ask the service who a credential is: GET `path`; `subject` is a pointer to the account's name in the
    answer; `scopes_header` holds the granted scopes, separated by commas."""

    path: Text
    subject: str
    scopes_header: Text | None = None


class AuthProfile(_Model):
    """One way to connect. `template` makes the header's value of the secret field, of which there is one so far:
    `Bearer {token}`."""

    profile_id: Name
    type: Literal["token", "none"]
    base_url: Text
    secret_fields: tuple[Name, ...] = ()
    header: Text | None = None
    template: Text | None = None
    scopes_offered: tuple[Text, ...] = ()
    probe: Probe | None = None


class Surface(_Model):
    """Whether consumers see a shared, normalised action (common), or this connector's own one with a reason (local)."""

    mode: Literal["common", "local"] = "local"
    normalized_id: DottedName | None = None
    action_name: Name | None = None
    reason: Text | None = None


SchemaMode: TypeAlias = Literal["defined", "dynamic", "passthrough"]


class SchemaPolicy(_Model):
    """How firm the schemas are: defined here, known late (dynamic), or anything (passthrough, with a justification)."""

    input: SchemaMode = "defined"
    output: SchemaMode = "defined"
    justification: Text | None = None


class HttpOperation(_Model):
    """One HTTP request as data.

    Every `{field}` of `path` is an input field. `query` and `body` map input fields to parameters and to members (or
    JSON pointers) of the body; the fields that neither path, query, `local` nor pagination take go into the body, or
    into the query for GET and DELETE, under their own names. `constants` are fixed members of the body; `encode` names
    a transformation of a field on its way out. `safe` says that a POST only reads, as a search does (RFC 9110 §9.2.1); a read
    by another method than GET has to say so.
    """

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: Text
    query: dict[str, Text] = {}
    body: dict[str, Text] = {}
    constants: dict[str, Any] = {}
    encode: dict[str, Literal["base64", "git_blob_sha", "json"]] = {}
    local: tuple[str, ...] = ()
    headers: dict[str, Text] = {}
    success: tuple[Status, ...] = (200, 201, 204)
    conditional: bool = False
    safe: bool = False


FailureCode: TypeAlias = Literal[
    "auth_failed",
    "provider_forbidden",
    "resource_not_found",
    "resource_conflict",
    "invalid_for_provider",
    "rate_limited",
    "provider_unavailable",
    "unexpected_answer",
]

TargetClass: TypeAlias = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,99}$")]
Variable: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")]
HostPath: TypeAlias = Annotated[str, Field(pattern=r"^/[^\x00]*$", max_length=4096)]
Argument: TypeAlias = Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00]*$")]


class CommandSecret(_Model):
    """The secret field of the connection, as a variable or ready to be read from a file descriptor (3 to 63)."""

    field: Name
    env: Variable | None = None
    fd: int | None = Field(default=None, ge=3, le=63)


class Confinement(_Model):
    """What a command may touch where it runs; all else is closed to it. Paths are the host's; `write` includes reading.
    The limits are those of all its processes together (`total_memory_bytes`, `processes`) or of each (the others)."""

    read: tuple[HostPath, ...] = ()
    write: tuple[HostPath, ...] = ()
    network: Literal["none", "loopback"] = "none"
    total_memory_bytes: int | None = Field(default=None, ge=1_048_576, le=2**48)
    processes: int | None = Field(default=None, ge=1, le=100_000)
    memory_bytes: int | None = Field(default=None, ge=1_048_576, le=2**48)
    cpu_seconds: int | None = Field(default=None, ge=1, le=86_400)
    files: int | None = Field(default=None, ge=8, le=1_048_576)
    file_bytes: int | None = Field(default=None, ge=0, le=2**48)


class CommandOperation(_Model):
    """One command as data; there is no shell.

    Every `{field}` of `argv` and `env` is an input field; `stdin` names the field whose text the command reads. The
    environment is `env` and `secrets`, and nothing else. `output` says what stdout is: `json`, or `text`, which becomes the
    member `stdout`. `refusals` are the exit codes by which the command says that it did nothing; after any other but 0,
    nobody knows. `targets` are the classes of place where it may run, best first, and `confinement` what it may touch there;
    without a confinement it runs on `local-process` only, which confines nothing.
    """

    argv: tuple[Argument, ...] = Field(min_length=1, max_length=1000)
    env: dict[Variable, Argument] = {}
    secrets: tuple[CommandSecret, ...] = ()
    stdin: Name | None = None
    cwd: HostPath = "/"
    output: Literal["text", "json"] = "text"
    refusals: dict[Annotated[str, Field(pattern=r"^[1-9]\d{0,2}$")], FailureCode] = {}
    targets: tuple[TargetClass, ...] = Field(
        default=("local-bubblewrap", "container-runc", "local-landlock"), min_length=1, max_length=20
    )
    confinement: Confinement | None = None


class ScriptOperation(_Model):
    """A small program (docs/plane-scripts.md). It sees the operation's input as `input`, and the value of its last expression
    is the output. `actions` are what it may ask for: the names that it calls, and the capabilities that they stand for. Each
    call is a run of its own, under the policy for that capability."""

    source: Annotated[str, Field(min_length=1, max_length=262_144)]
    actions: dict[Name, Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.]*$", max_length=200)]] = {}
    run_ms: int = Field(default=5_000, ge=1, le=600_000)
    memory_bytes: int = Field(default=33_554_432, ge=1_048_576, le=2**30)
    output_bytes: int = Field(default=65_536, ge=0, le=2**26)
    max_actions: int = Field(default=100, ge=0, le=1000)


class Condition(_Model):
    """What else must hold for an error rule: all that is given. `contains` ignores case; without `pointer` it looks at
    the whole body's text."""

    header: Text | None = None
    equals: str | None = None
    pointer: str | None = None
    contains: Text | None = None


class RetryAfter(_Model):
    """Where the service says how long to wait: the first of seconds (or a date) in a header, a moment in a header
    (seconds since 1970), a constant number of seconds."""

    header: Text | None = None
    reset_header: Text | None = None
    seconds: float | None = Field(default=None, ge=0, le=86_400)


class ErrorRule(_Model):
    """What an answer means: `status` is exact (`404`) or a class (`5xx`). The first rule that fits decides: the
    operation's, then the connector's, then the built-in ones. `effect` says what became of a write; left out, a refusal
    (4xx, but for 408) means none, and anything else unknown."""

    status: Annotated[str, Field(pattern=r"^[1-5](\d\d|xx)$")]
    when: Condition | None = None
    code: FailureCode
    retry: Retry | None = None
    retry_after: RetryAfter | None = None
    effect: Literal["none", "unknown"] | None = None


class Pagination(_Model):
    """How a list goes on: by the Link header (`rel="next"`), or by a cursor in the answer that goes into an input field.
    `items` points at the list in the answer; `pages_field` is the input field that says how many pages to follow."""

    style: Literal["link", "cursor"]
    items: str = ""
    pages_field: Name = "max_pages"
    cursor: str | None = None
    cursor_field: Name | None = None


class Match(_Model):
    """One comparison of a found record with what was meant. `eq`: equal (a value that is empty, null or not given must
    be absent or empty there); `set`: the same elements in any order; `subset`: each of ours is there; `contains`: their
    text holds ours. An `optional` comparison counts only if the input has the value."""

    value: Any
    op: Literal["eq", "set", "subset", "contains"] = "eq"
    optional: bool = False


def _as_match(value: object) -> object:
    """A bare template is short for equality with it."""
    given = cast("dict[str, object]", value) if isinstance(value, dict) else {}
    return given if "value" in given else {"value": cast("object", value)}


class Reconcile(_Model):
    """How reading settles a write whose outcome is unknown.

    GET `path` with `query` (templates: `{input.title}`, `{input.content|base64}`, `{subject}`, `{started_at-60s}`).
    With `items` the answer is a list (further pages by the Link header) and each record is compared; without, it is one
    record. `match` maps pointers into the record (`*` = every element) to what they must equal. `since` points at a
    record's creation time; records older than the run's start, less `skew_seconds`, do not count; `newest_first` tells
    that the list is sorted by it, so that reading can stop. `absent_status` proves absence; `gone` says that absence
    is what was meant. `output` maps output properties to pointers into the record where it differs from the answer.
    Or `function`: a Python generator `module:function(operation, input, facts)` for what data cannot say.
    """

    path: Text | None = None
    query: dict[str, Any] = {}
    items: str | None = None
    match: dict[str, Annotated[Match, BeforeValidator(_as_match)]] = {}
    since: str | None = None
    skew_seconds: float = Field(default=30, ge=0, le=3600)
    newest_first: bool = False
    absent_status: tuple[Status, ...] = ()
    gone: bool = False
    output: dict[str, str] = {}
    max_pages: int = Field(default=3, ge=1, le=20)
    function: Function | None = None


class Operation(_Model):
    """One thing that a connector can do. Its capability id is `<connector_id>.<operation_id>`.

    `settle_seconds`: how long after a write its effect may still be invisible to reads (left out: as long as
    `timeout_seconds`, since a service may still be at work on what was cut off); `timeout_seconds`: for the whole call;
    `sandbox`: the weakest isolation it may run under.
    """

    operation_id: DottedName
    display_name: Text
    description: Text
    effect: Effect
    runtime_class: RuntimeClass = RuntimeClass.DIRECT
    scopes: tuple[Text, ...] = ()
    surface: Surface = Surface(reason="specific to this service")
    schemas: SchemaPolicy = SchemaPolicy()
    input_schema: Schema
    output_schema: Schema
    http: HttpOperation | None = None
    handler: Function | None = None
    command: CommandOperation | None = None
    script: ScriptOperation | None = None
    idempotency: Idempotency
    idempotency_header: Text | None = None
    reconcile: Reconcile | None = None
    errors: tuple[ErrorRule, ...] = ()
    pagination: Pagination | None = None
    sandbox: Literal["none", "standard", "strict"] = "none"
    settle_seconds: float | None = Field(default=None, ge=0, le=600)
    timeout_seconds: float = Field(default=30, gt=0, le=3600)
    max_response_bytes: int = Field(default=8 * 1_048_576, ge=1024, le=64 * 1_048_576)

    @property
    def settled_after(self) -> float:
        """Seconds after a write from which on a record that is not there proves that nothing happened."""
        return self.timeout_seconds if self.settle_seconds is None else self.settle_seconds

    def may_write(self, method: str) -> bool:
        """Whether a request of that method may change something, whatever the effect is said to be."""
        return method not in SAFE_METHODS and not (self.http is not None and self.http.safe)


class Polling(_Model):
    """How often a poll trigger asks, in seconds; `jitter` is a share (0 to 1) of the interval."""

    default_seconds: float = Field(gt=0, le=86_400)
    min_seconds: float = Field(gt=0, le=86_400)
    jitter: float = Field(default=0.1, ge=0, le=1)


class Verification(_Model):
    """How a webhook proves its origin: an HMAC over the raw body, in a header, after a prefix."""

    algorithm: Literal["hmac_sha256", "unsigned"]
    header: Text | None = None
    prefix: str = ""
    secret_field: Name | None = None
    justification: Text | None = None


class Trigger(_Model):
    """Something that a connector reports: by a webhook or by polling."""

    trigger_id: DottedName
    display_name: Text
    description: Text
    delivery: Literal["webhook", "poll"]
    scopes: tuple[Text, ...] = ()
    surface: Surface = Surface(reason="specific to this service")
    config_schema: Schema = {"type": "object", "additionalProperties": False}
    signal_schema: Schema
    verification: Verification | None = None
    polling: Polling | None = None


class Manifest(_Model):
    """A connector, as data. Operations and triggers are kept sorted by their ids."""

    contract: Literal["interlock.connector/v1"]
    connector_id: Name
    version: Annotated[
        str, Field(pattern=r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?$", max_length=60)
    ]
    display_name: Text
    description: Text
    category: Name = "other"
    tags: tuple[Text, ...] = ()
    docs_url: Annotated[str, Field(pattern=r"^https://[^\s/]+(/\S*)?$", max_length=500)] | None = None
    maturity: Literal["experimental", "alpha", "beta", "ga"] = "experimental"
    publication: Literal["internal", "public", "private"] = "public"
    auth: tuple[AuthProfile, ...]
    operations: tuple[Operation, ...] = ()
    triggers: tuple[Trigger, ...] = ()

    @property
    def runtime_classes(self) -> tuple[RuntimeClass, ...]:
        """Which classes its operations have, sorted."""
        return tuple(sorted({operation.runtime_class for operation in self.operations}))

    @property
    def names_code(self) -> bool:
        """Whether it names Python to run: a handler, or a function that settles. A manifest without is data only."""
        return bool(self.settled_by_code) or any(each.handler is not None for each in self.operations)

    @property
    def settled_by_code(self) -> tuple[str, ...]:
        """The ids of the operations whose unknown outcomes a Python function settles."""
        rules = ((each.operation_id, each.reconcile) for each in self.operations)
        return tuple(name for name, rule in rules if rule is not None and rule.function is not None)

    def to_json(self) -> dict[str, JSON]:
        """The plain data, without what equals the contract's defaults (they are fixed for `v1`)."""
        return self.model_dump(mode="json", exclude_defaults=True)

    @cached_property
    def digest(self) -> str:
        """`sha256:…` over the canonical JSON: the same for the same connector, however it was declared."""
        return digest(self.to_json())
