"""Which options of a provider a request may carry: those that move no state, effect or money out of our sight.

What is not listed is refused, so that what a provider invents tomorrow is not allowed by itself. What is asked, of whom, how
much of it and with which tools has words of our own; state is kept in sessions, and effects are operations.
"""

import difflib
from collections.abc import Collection, Iterator, Mapping
from typing import Final, NamedTuple, TypeAlias, cast

Allowed: TypeAlias = "Mapping[str, Allowed] | frozenset[object] | None"
"""What a value may be: an object of these members, one of these values, or (None) anything."""


class Flaw(NamedTuple):
    """Which option is not one, and what to say instead."""

    path: str
    problem: str
    suggestion: str | None


_LIMIT: Final = "say `params.max_tokens`"
_STATE: Final = "leave it out: a conversation is kept in a session, `interlock agent sessions`"
_TOOLS: Final = "say `operations`: what a model may do is done here, judged and on record"
_PLACE: Final = "say it in the settings, under [inference.providers]"
_ASKED: Final = "leave it out: it is what the request itself says"
_RESULT: Final = "say `result`"
_ONE: Final = "leave it out: one answer is asked for, and paid for"

_NEVER: Final[Mapping[str, str]] = {
    **dict.fromkeys(("maxtokens", "maxoutputtokens", "maxcompletiontokens", "maxnewtokens", "npredict"), _LIMIT),
    **dict.fromkeys(("n", "bestof", "numreturnsequences", "candidatecount", "prediction"), _ONE),
    **dict.fromkeys(
        (
            "previousresponseid", "conversation", "conversationid", "background", "backgroundoptions", "cachedcontent",
            "container", "contextmanagement", "prompt", "continuationid", "continuationtoken", "sessionid",
        ),
        _STATE,
    ),
    **dict.fromkeys(
        (
            "tools", "toolchoice", "toolconfig", "functions", "functioncall", "mcpservers", "websearchoptions",
            "maxtoolcalls", "automaticfunctioncalling", "plugins", "skills",
        ),
        _TOOLS,
    ),
    **dict.fromkeys(
        (
            "baseurl", "headers", "extraheaders", "extraquery", "extrabody", "apikey", "httpoptions", "timeout", "webhook",
            "webhooks", "callbackurl", "inferencegeo", "betas",
        ),
        _PLACE,
    ),
    **dict.fromkeys(
        (
            "model", "models", "messages", "input", "contents", "instructions", "system", "systeminstruction", "stream",
            "streamoptions", "prefill", "routingconfig", "modelselectionconfig", "fallbacks", "provider",
        ),
        _ASKED,
    ),
    **dict.fromkeys(("audio", "modalities", "responsemodalities", "imageconfig", "speechconfig", "image"), _RESULT),
}  # fmt: skip
"""What no provider is told by an option, whatever the settings declare, by the names as `_folded` has them."""

_OURS: Final = frozenset({"temperature", "top_p", "top_k", "presence_penalty", "frequency_penalty", "seed", "stop"})

_CHEAP: Final = frozenset[object]({"default", "flex"})
_OPENAI: Final[Mapping[str, Allowed]] = {
    "metadata": None,
    "prompt_cache_key": None,
    "safety_identifier": None,
    "service_tier": _CHEAP,
    "store": frozenset[object]({False}),
    "top_logprobs": None,
    "user": None,
}
ALLOWED: Final[Mapping[str, Mapping[str, Allowed]]] = {
    "openai": {
        **_OPENAI,
        "reasoning": {"effort": None, "summary": None, "context": None},
        "text": {"verbosity": None},
        "truncation": frozenset[object]({"auto", "disabled"}),
    },
    "openai-chat": {**_OPENAI, "logit_bias": None, "logprobs": None, "reasoning_effort": None, "verbosity": None},
    "anthropic": {
        "metadata": {"user_id": None},
        "output_config": {"effort": None},
        "service_tier": frozenset[object]({"standard_only"}),
        "speed": frozenset[object]({"standard"}),
        "thinking": {"type": None, "budget_tokens": None, "display": None},
    },
    "google": {
        "generationConfig": {
            "thinkingConfig": {"includeThoughts": None, "thinkingBudget": None, "thinkingLevel": None},
            "mediaResolution": None,
        },
        "safetySettings": None,
    },
    "compatible": {},
}
"""By the kind of the provider."""

_KNOWN: Final[Mapping[str, tuple[str, ...]]] = {
    "openai": ("openai", "openai-chat"),
    "anthropic": ("anthropic",),
    "google": ("google",),
}
"""What the well-known providers may be."""


def flaws(options: Mapping[str, object], *, kind: str, declared: Collection[str] = ()) -> Iterator[Flaw]:
    """What of the options a provider of that kind must not be told; `declared` is what its setting lets through besides. Of a
    kind that is not listed, what nobody is told."""
    allowed = ALLOWED.get(kind)
    for name, value in options.items():
        if (instead := _NEVER.get(_folded(name))) is not None:
            yield Flaw(name, "is no option of a provider", instead)
        elif allowed is not None and name not in declared:
            yield from _unfit(name, name, value, allowed, kind)


def flaws_of(options: Mapping[str, object], *, provider: str) -> Iterator[Flaw]:
    """As `flaws`, where only a provider's name is known, and no settings are: what it must not be told whatever they say."""
    kinds = _KNOWN.get(provider, ("",))
    yield from min((list(flaws(options, kind=kind)) for kind in kinds), key=len)


def is_declarable(name: str) -> bool:
    """Whether a setting may let it through."""
    return _folded(name) not in _NEVER


def _folded(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()


def _unfit(path: str, name: str, value: object, allowed: Mapping[str, Allowed], kind: str) -> Iterator[Flaw]:
    if name not in allowed:
        yield Flaw(path, f"is not allowed of {kind}", _instead(name, allowed, kind))
        return
    wanted = allowed[name]
    if wanted is None:
        return
    if isinstance(wanted, frozenset):
        if not any(value == each for each in wanted):
            yield Flaw(path, "has a value that is not allowed", f"it may be {', '.join(sorted(map(repr, wanted)))}")
        return
    if not isinstance(value, Mapping):
        yield Flaw(path, "is no object", f"its members are {', '.join(wanted)}")
        return
    for member, inner in cast("Mapping[str, object]", value).items():
        if (instead := _NEVER.get(_folded(member))) is not None:
            yield Flaw(f"{path}.{member}", "is no option of a provider", instead)
        else:
            yield from _unfit(f"{path}.{member}", member, inner, wanted, kind)


def _instead(name: str, allowed: Mapping[str, Allowed], kind: str) -> str | None:
    if name in _OURS:
        return f"say `params.{name}`"
    if kind == "compatible":
        return f"the operator may let it through: `options = [{name!r}]` under [inference.providers]"
    near = difflib.get_close_matches(name[:200], allowed, n=1)
    return f"did you mean {near[0]!r}?" if near else f"it may have {', '.join(sorted(allowed))}"
