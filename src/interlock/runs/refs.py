"""Stable names for what a review talks about: `interlock://v1/<kind>/<id>`, the same for everyone who sees the packet."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, cast
from urllib.parse import quote, unquote

from pydantic import BaseModel, ConfigDict, Field, model_validator

from interlock.kernel import JSON, RequestError

_SCHEME = "interlock://v1/"
_MAX_ID = 400

SubjectKind = Literal[
    "run", "attempt", "send", "event", "artifact", "trigger", "capability", "target", "connection", "install"
]
GovernanceKind = Literal["approval", "denial", "override", "rollback", "policy_decision"]


class InvalidRef(RequestError):
    """The text is not a reference of Interlock."""

    code = "invalid_ref"
    next_step = f"References look like {_SCHEME}run/run_0193…"


def derive(kind: str, id_: str) -> str:
    """The reference of a thing by kind and id."""
    return f"{_SCHEME}{kind}/{quote(id_, safe='')}"


def parse(ref: str) -> tuple[str, str]:
    """Kind and id of a reference. Raises InvalidRef unless the text is exactly what `derive` gives."""
    kind, _, tail = ref.removeprefix(_SCHEME).partition("/")
    id_ = unquote(tail)
    if not (ref.isascii() and kind.isidentifier() and 0 < len(id_) <= _MAX_ID) or ref != derive(kind, id_):
        raise InvalidRef(f"{ref[:100]!r} is not a reference")
    return kind, id_


class _Ref(BaseModel):
    """A reference may be left out, and is then derived; one that is given must be the derived one."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", defer_build=True)
    anchor: ClassVar[tuple[str, str]] = ("kind", "id")

    ref: str = ""

    @model_validator(mode="before")
    @classmethod
    def _derive_ref(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        fields = dict(cast("Mapping[str, Any]", value))
        kind, id_ = (fields.get(name) for name in cls.anchor)
        if isinstance(kind, str) and isinstance(id_, str):
            derived = derive(kind, id_)
            if fields.setdefault("ref", derived) != derived:
                raise ValueError(f"ref {str(fields['ref'])[:100]!r} is not that of this {kind}; it must be {derived!r}")
        return fields

    def to_json(self) -> dict[str, JSON]:
        """As it stands in a packet."""
        return self.model_dump(mode="json")


class SubjectRef(_Ref):
    """What a statement is about."""

    kind: SubjectKind
    id: str = Field(min_length=1, max_length=_MAX_ID)


class EvidenceRef(_Ref):
    """A thing that proves something about a subject, and the packet in which it can be looked at."""

    kind: SubjectKind
    id: str = Field(min_length=1, max_length=_MAX_ID)
    packet_ref: str
    subject: SubjectRef


class GovernanceRef(_Ref):
    """An act of governance over a subject, with its evidence."""

    kind: GovernanceKind
    id: str = Field(min_length=1, max_length=_MAX_ID)
    subject: SubjectRef
    evidence: tuple[EvidenceRef, ...] = ()


class ReviewProjection(BaseModel):
    """The packet in references: what it is about, which attempt counts, what proves it, who governed it."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", defer_build=True)

    packet_ref: str
    subject: SubjectRef
    selected_attempt: SubjectRef | None
    evidence: tuple[EvidenceRef, ...]
    governance: tuple[GovernanceRef, ...]

    @model_validator(mode="after")
    def _one_packet(self) -> "ReviewProjection":
        if self.packet_ref != derive("packet", self.subject.id):
            raise ValueError(f"packet_ref {self.packet_ref[:100]!r} is not that of {self.subject.ref!r}")
        evidence = (*self.evidence, *(item for act in self.governance for item in act.evidence))
        if any(item.packet_ref != self.packet_ref for item in evidence):
            raise ValueError(f"all evidence must lie in {self.packet_ref!r}")
        return self

    def to_json(self) -> dict[str, JSON]:
        """As it stands in a packet."""
        return self.model_dump(mode="json")
