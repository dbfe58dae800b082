"""The manifest: everything there is to know about a connector, as data. The Python declaration and a file make it alike.

Schemas carry how answers become outputs, as annotations on properties (`schemas` makes them from Python models):
`x-from` (a JSON pointer into the answer at this level), `x-from-header`, `x-from-next` (a query parameter of the link to
the next page), `x-from-input` (a pointer into the input), `x-from-subject`, `x-const`; and on inputs `x-path: slashes`.
"""

from enum import StrEnum
from functools import cached_property
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import Field

from interlock.kernel import JSON, digest
from interlock.sdk.auth import AuthProfile
from interlock.sdk.kinds import CommandOperation, HttpOperation, ScriptOperation
from interlock.sdk.listing import Polling
from interlock.sdk.rules import ErrorRule, Pagination, Reconcile
from interlock.sdk.terms import DottedName, Function, Name, Part, Schema, Text
from interlock.sdk.verification import Event, Verification
from interlock.sdk.wire import SAFE_METHODS

CONTRACT: Final = "interlock.connector/v1"


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


class Surface(Part):
    """Whether consumers see a shared, normalised action (common), or this connector's own one with a reason (local)."""

    mode: Literal["common", "local"] = "local"
    normalized_id: DottedName | None = None
    action_name: Name | None = None
    reason: Text | None = None


SchemaMode: TypeAlias = Literal["defined", "dynamic", "passthrough"]


class SchemaPolicy(Part):
    """How firm the schemas are: defined here, known late (dynamic), or anything (passthrough, with a justification)."""

    input: SchemaMode = "defined"
    output: SchemaMode = "defined"
    justification: Text | None = None


class Operation(Part):
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


class Retries(Part):
    """How often the work of an event is tried, in which pauses (seconds; exponential, with jitter, from `base_seconds` to
    `cap_seconds`), and after how many seconds it is not begun any more. What the work's errors mean counts all the same: what
    cannot succeed is not tried again."""

    max_attempts: int = Field(default=5, ge=1, le=100)
    base_seconds: float = Field(default=1, gt=0, le=2_592_000)
    cap_seconds: float = Field(default=300, gt=0, le=2_592_000)
    deadline_seconds: float | None = Field(default=None, gt=0, le=2_592_000)


class Trigger(Part):
    """Something that a connector reports: by a webhook or by polling. Of the webhooks that come to a route, `event` tells
    which are this trigger's; without it all are. `filters` maps fields of the config to places in the body: what a trigger's
    config says there (a value, or a list of them) must be there, or the event is not for it. A signal's data is the body as it
    came; where `signal_schema` says where its properties are from, or the body is no object, it is made as outputs are. `retry`
    holds for work of its events, unless whoever makes the trigger says otherwise."""

    trigger_id: DottedName
    display_name: Text
    description: Text
    delivery: Literal["webhook", "poll"]
    scopes: tuple[Text, ...] = ()
    surface: Surface = Surface(reason="specific to this service")
    config_schema: Schema = Field(default={"type": "object", "additionalProperties": False})
    signal_schema: Schema
    event: Event | None = None
    filters: dict[Name, str] = Field(default={})
    verification: Verification | None = None
    polling: Polling | None = None
    retry: Retries | None = None


class Manifest(Part):
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
