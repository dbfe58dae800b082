"""What is said to a model and what it says, in words of our own: kept for years, and the same for every provider."""

import operator
from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, Final, Literal, Self, TypeAlias

from pydantic import Field

from interlock import kernel, sdk

CONTRACT: Final = "interlock.message/v1"


class Part(sdk.Part):
    """A value of the room: frozen, strict, and without a member that it does not know."""


class Text(Part):
    """Words. `opaque` is the provider's own, such as the name under which it keeps them."""

    kind: Literal["text"] = "text"
    text: str
    opaque: Mapping[str, Any] = Field(default={}, exclude_if=operator.not_)


class Thinking(Part):
    """What a model thought before it answered. `opaque` is the provider's own, and goes back to it unchanged."""

    kind: Literal["thinking"] = "thinking"
    text: str = ""
    opaque: Mapping[str, Any] = Field(default={})


class Call(Part):
    """A model asks for an operation. `arguments` is the text that it wrote, which should be a JSON object and may be anything."""

    kind: Literal["call"] = "call"
    call_id: str
    name: str
    arguments: str = "{}"
    opaque: Mapping[str, Any] = Field(default={})


class Outcome(Part):
    """What came of a call, as the model is told. It is data, whatever it says."""

    kind: Literal["outcome"] = "outcome"
    call_id: str
    name: str
    text: str
    failed: bool = False


class Role(StrEnum):
    """Who says it. What an operator says to a model stands in a request's instructions, and nothing else does."""

    USER = "user"
    MODEL = "model"
    OPERATIONS = "operations"


Piece: TypeAlias = Annotated[Text | Thinking | Call | Outcome, Field(discriminator="kind")]


class Message(Part):
    """One side's turn to speak."""

    contract: Literal["interlock.message/v1"] = "interlock.message/v1"
    role: Role
    parts: tuple[Piece, ...]

    @property
    def text(self) -> str:
        """Its words, without thoughts and calls."""
        return "".join(each.text for each in self.parts if isinstance(each, Text))

    @property
    def calls(self) -> tuple[Call, ...]:
        """The operations that it asks for."""
        return tuple(each for each in self.parts if isinstance(each, Call))

    @cached_property
    def canonical(self) -> bytes:
        """Its canonical JSON, made once: whatever was said before is measured and digested with each question. Raises ValueError
        if it has none."""
        return kernel.canonical(self.model_dump(mode="json"))

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy, whose canonical JSON is its own."""
        copied = super().model_copy(update=update, deep=deep)
        vars(copied).pop("canonical", None)
        return copied


def canonical(messages: Iterable[Message]) -> bytes:
    """The canonical JSON of what was said. Raises ValueError if it has none."""
    return b"[" + b",".join(each.canonical for each in messages) + b"]"


def said(text: str) -> Message:
    """What a user says."""
    return Message(role=Role.USER, parts=(Text(text=text),))


class Usage(Part):
    """Tokens that were counted. Those read from and written to a provider's cache are among the tokens that went in; those of
    thinking among those that came out."""

    input_tokens: Annotated[int, Field(ge=0)] = 0
    output_tokens: Annotated[int, Field(ge=0)] = 0
    cache_read_tokens: Annotated[int, Field(ge=0)] = 0
    cache_write_tokens: Annotated[int, Field(ge=0)] = 0
    thinking_tokens: Annotated[int, Field(ge=0)] = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(**{name: value + getattr(other, name) for name, value in self})

    @property
    def tokens(self) -> int:
        """All that went in and came out."""
        return self.input_tokens + self.output_tokens


class Finish(StrEnum):
    """Why a model stopped."""

    STOP = "stop"
    CALLS = "calls"
    LENGTH = "length"
    """It had no more tokens: what it says ends somewhere."""
    REFUSAL = "refusal"
    """It will not answer, or its provider would not let it."""
    PAUSED = "paused"
    """It goes on if it is asked again with what it has said."""
    CUT = "cut"
    """What it said ended without its saying why: the rest was lost on the way."""


class Answer(Part):
    """What a model said."""

    message: Message
    finish: Finish
    usage: Usage = Usage()
    model: str
    """The model that says it answered."""
    response_id: str | None = None

    @property
    def is_counted(self) -> bool:
        """Whether its usage is what it came to: some servers count nothing of a stream, and of one that was cut off the count is
        not the last."""
        usage = self.usage
        said_nothing = not self.message.parts
        return self.finish is not Finish.CUT and usage.input_tokens > 0 and (usage.output_tokens > 0 or said_nothing)


class Tool(Part):
    """An operation, as a model is shown it."""

    name: str
    description: str = ""
    input: Mapping[str, Any]


class Request(Part):
    """What a model is asked. `result` is the JSON Schema that its answer's words must fit. `params` and `provider_options` are a
    spec's."""

    contract: Literal["interlock.model-request/v1"] = "interlock.model-request/v1"
    model: str
    instructions: str
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    result: Mapping[str, Any] | None = None
    params: Mapping[str, Any] = Field(default={})
    provider_options: Mapping[str, Any] = Field(default={})

    @property
    def canonical(self) -> bytes:
        """Its canonical JSON. Raises ValueError if it has none."""
        members = self.model_dump(mode="json", exclude={"messages"})
        written = {name: kernel.canonical(value) for name, value in members.items()}
        written["messages"] = canonical(self.messages)
        return b"{" + b",".join(b'"%s":%s' % (name.encode(), written[name]) for name in sorted(written)) + b"}"
