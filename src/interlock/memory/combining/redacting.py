"""The provider `redacting`: what must not be kept is taken out before the provider inside sees it."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, Self, TypeVar

from pydantic import ConfigDict, Field

from interlock.kernel import JSON, MIN_SECRET_LENGTH, REDACTED, Clock, Redactor, Secret
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

PATTERNS: Final[Mapping[str, str]] = {
    "api_keys": r"\b(?:sk|pk|rk|ghp|gho|ghu|ghs|ghr|github_pat|glpat|xox[abprs])[-_][A-Za-z0-9_-]{16,512}",
    "aws_keys": r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    "bearer": r"(?i:\bbearer)[ \t]{1,8}[A-Za-z0-9._~+/-]{16,4096}=*",
    "cards": r"\b(?:\d[ -]?){12,18}\d\b",
    "emails": r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}\b",
    "jwts": r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,4096}\.[A-Za-z0-9_-]{8,8192}\.[A-Za-z0-9_-]{8,2048}",
    "private_keys": r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----(?:[^-]|-(?!----))*+-----END [A-Z ]{0,40}PRIVATE KEY-----",
}
"""By name; each takes time in proportion to the text. `cards` are numbers of 13 to 19 digits whose check digit is right."""

USUAL: Final = ("api_keys", "aws_keys", "bearer", "jwts", "private_keys")
"""What is taken out if nothing is said: what opens something."""


class Settings(Value):
    """What is taken out: `secrets` with all the forms that encoders turn them into, and what fits `patterns`, which are names of
    PATTERNS, or regular expressions of one's own, which are as quick as they are written."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    patterns: Annotated[tuple[str, ...], Field(strict=False, max_length=100)] = USUAL
    secrets: Annotated[tuple[Secret, ...], Field(strict=False, max_length=1_000)] = ()


class Redacting(Wrapper):
    """Texts, content, metadata, tags and all other words of records and queries, without what must not be kept. The scope, the
    ids and the times are left alone."""

    name: ClassVar[str] = "redacting"
    description: ClassVar[str] = "around another provider: secrets and patterns are taken out before it sees them"
    settings: ClassVar[type[Value]] = Settings
    withheld: frozenset[str] = Wrapper.withheld | {"transfer"}  # what is taken over is taken as it is

    def __init__(self, inner: Provider, *, patterns: Sequence[str] = USUAL, secrets: Iterable[Secret] = ()) -> None:
        """See Settings. Raises InvalidConfig."""
        super().__init__(inner)
        known = tuple(secrets)
        if any(len(secret.reveal()) < MIN_SECRET_LENGTH for secret in known):
            raise InvalidConfig(f"a secret of less than {MIN_SECRET_LENGTH} characters would shred ordinary text")
        self._redactor = Redactor(known)
        self._patterns = _compiled(patterns)
        self.withheld |= {"transfer"}

    @classmethod
    def validate_config(cls, config: Mapping[str, Any]) -> Mapping[str, Any]:
        checked = super().validate_config(config)
        _compiled(checked["settings"].patterns)
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
        text = self._redactor.text(text)
        for name, pattern in self._patterns:
            text = pattern.sub(_card if name == "cards" else REDACTED, text)
        return text

    def _json(self, value: JSON) -> JSON:
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, Mapping):
            return {self._text(name): self._json(each) for name, each in value.items()}
        if isinstance(value, list | tuple):
            return [self._json(each) for each in value]
        return value


def _compiled(patterns: Sequence[str]) -> list[tuple[str, re.Pattern[str]]]:
    compiled: list[tuple[str, re.Pattern[str]]] = []
    for pattern in patterns:
        try:
            compiled.append((pattern, re.compile(PATTERNS.get(pattern, pattern))))
        except (re.error, OverflowError, RecursionError) as error:
            raise InvalidConfig(f"{pattern[:100]!r} is no regular expression: {error}") from None
    return compiled


def _card(found: re.Match[str]) -> str:
    """Only numbers whose check digit is right (ISO/IEC 7812): others are something else."""
    digits = [int(character) for character in found[0] if character.isdigit()]
    doubled = (digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2])
    return REDACTED if (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0 else found[0]
