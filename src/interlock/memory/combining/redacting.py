"""The provider `redacting`: what must not be kept is taken out before the provider inside sees it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import ConfigDict, Field

from interlock.kernel import JSON, MIN_SECRET_LENGTH, SECRET_PATTERNS, Clock, Detector, Redactor, Secret
from interlock.memory.combining.wrapper import Wrapper
from interlock.memory.errors import InvalidConfig, InvalidInput
from interlock.memory.provider import Provider
from interlock.memory.queries import Query
from interlock.memory.records import Draft, Fields, Record
from interlock.memory.results import (
    ConsolidationPlan,
    ConsolidationResult,
    IngestRequest,
    IngestResult,
    RetrieveResult,
)
from interlock.memory.scope import Scope
from interlock.memory.value import Value

F = TypeVar("F", bound=Fields)


class Settings(Value):
    """What is taken out: `secrets` with all the forms that encoders turn them into, and what fits `patterns`, which are names of
    `kernel.PATTERNS`, or regular expressions of one's own, which are as quick as they are written."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    patterns: Annotated[tuple[str, ...], Field(strict=False, max_length=100)] = SECRET_PATTERNS
    secrets: Annotated[tuple[Secret, ...], Field(strict=False, max_length=1_000)] = ()


class Redacting(Wrapper):
    """Texts, content, metadata, tags and all other words of records and queries, without what must not be kept. The scope, the
    ids and the times are left alone."""

    name: ClassVar[str] = "redacting"
    description: ClassVar[str] = "around another provider: secrets and patterns are taken out before it sees them"
    settings: ClassVar[type[Value]] = Settings
    withheld: frozenset[str] = Wrapper.withheld | {"transfer"}  # what is taken over is taken as it is

    def __init__(
        self, inner: Provider, *, patterns: Sequence[str] = SECRET_PATTERNS, secrets: Iterable[Secret] = ()
    ) -> None:
        """See Settings. Raises InvalidConfig."""
        super().__init__(inner)
        known = tuple(secrets)
        if any(len(secret.reveal()) < MIN_SECRET_LENGTH for secret in known):
            raise InvalidConfig(f"a secret of less than {MIN_SECRET_LENGTH} characters would shred ordinary text")
        self._redactor = Redactor(known)
        self._detector = _detector(patterns)
        self.withheld |= {"transfer"}

    @classmethod
    def validate_config(cls, config: Mapping[str, Any]) -> Mapping[str, Any]:
        checked = super().validate_config(config)
        _detector(checked["settings"].patterns)
        return checked

    @classmethod
    def around(cls, inner: Provider, settings: Settings, clock: Clock) -> Self:
        del clock  # nothing of it depends on time
        return cls(inner, patterns=settings.patterns, secrets=settings.secrets)

    async def remember(self, scope: Scope, draft: Draft) -> Record:
        return await super().remember(scope, self._draft(draft))

    async def ingest(self, scope: Scope, request: IngestRequest) -> IngestResult:
        return await super().ingest(scope, self._request(request))

    async def retrieve(self, scope: Scope, query: Query) -> RetrieveResult:
        return await super().retrieve(scope, self._query(query))

    async def explain_retrieval(self, scope: Scope, query: Query) -> RetrieveResult:
        return await super().explain_retrieval(scope, self._query(query))

    async def get_as_of(self, scope: Scope, record_id: str, query: Query) -> Record:
        return await super().get_as_of(scope, record_id, self._query(query))

    async def apply_consolidation(self, scope: Scope, plan: ConsolidationPlan) -> ConsolidationResult:
        changes = tuple(
            change if change.record is None else change.model_copy(update={"record": self._draft(change.record)})
            for change in plan.changes
        )
        return await super().apply_consolidation(scope, plan.model_copy(update={"changes": changes}))

    async def before_turn(self, scope: Scope, text: str) -> RetrieveResult:
        return await super().before_turn(scope, self._text(text))

    async def after_turn(self, scope: Scope, request: IngestRequest) -> IngestResult:
        return await super().after_turn(scope, self._request(request))

    # -- the parts

    def _request(self, request: IngestRequest) -> IngestRequest:
        return request.model_copy(update={"records": tuple(map(self._draft, request.records))})

    def _draft(self, draft: Draft) -> Draft:
        """Raises InvalidInput for a key that would no longer be one."""
        if draft.idempotency_key is not None and self._text(draft.idempotency_key) != draft.idempotency_key:
            raise InvalidInput(
                "the idempotency_key has something in it that must not be kept; make it of something else"
            )
        place = draft.provenance
        changed: dict[str, Any] = {
            "text": self._maybe(draft.text),
            "content": self._json(draft.content),
            "kind": self._text(draft.kind),
            "tags": tuple(map(self._text, draft.tags)),
            "source": self._maybe(draft.source),
            "metadata": self._json(draft.metadata),
            "provenance": place.changed(source_turn=self._maybe(place.source_turn), span=self._maybe(place.span)),
        }
        if all(getattr(draft, name) == value for name, value in changed.items()):
            return draft
        return draft.changed(**changed, embedding=None)  # one of the caller's would tell what was taken out

    def _query(self, query: Query) -> Query:
        return query.changed(
            text=self._maybe(query.text),
            kinds=tuple(map(self._text, query.kinds)),
            tags_any=tuple(map(self._text, query.tags_any)),
            tags_all=tuple(map(self._text, query.tags_all)),
            source=self._maybe(query.source),
            text_contains=self._maybe(query.text_contains),
            metadata=self._json(query.metadata),
        )

    def _maybe(self, text: str | None) -> str | None:
        return None if text is None else self._text(text)

    def _text(self, text: str) -> str:
        return self._detector.taken_out(self._redactor.text(text))

    def _json(self, value: JSON) -> JSON:
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, Mapping):
            return {self._text(name): self._json(each) for name, each in value.items()}
        if isinstance(value, list | tuple):
            return [self._json(each) for each in value]
        return value


def _detector(patterns: Sequence[str]) -> Detector:
    try:
        return Detector(patterns)
    except ValueError as error:
        raise InvalidConfig(str(error)) from None
