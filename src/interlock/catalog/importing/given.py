"""The fields of one entry, made as its texts name them, and those texts as ours."""

import re
from collections.abc import Mapping
from typing import Any, Final, cast

from pydantic_core import SchemaError

from interlock import sdk
from interlock.catalog.importing import texts
from interlock.catalog.importing.report import Refused
from interlock.catalog.importing.said import as_text, our_name
from interlock.catalog.importing.texts import Call, Hole, Piece

_LOOKS_SECRET: Final = re.compile(
    r"secret|passw|token|api_?key|access_?key|license_?key|subscription_?key|private_?key"
)
_LOOKS_PUBLIC: Final = re.compile(
    r"user_?name|e_?mail|client_?id|app_?id|account_?id|company|login|org(anization)?(_id)?|issuer_id|key_id"
)
_RESERVED: Final = sdk.RESERVED_FIELDS
_HOST: Final = re.compile(r"https?://([^/?#]*)", re.DOTALL)
_SECOND_LEVEL: Final = frozenset({"co", "com", "org", "net", "gov", "ac", "edu"})


class Given:
    """What a person gives. `granted` are the values that the grant makes, by their own names."""

    def __init__(self, declared: Mapping[str, Mapping[str, Any]], granted: Mapping[str, str]) -> None:
        self._declared = declared
        self._granted = dict(granted)
        self._called: dict[tuple[str, str], str] = {}
        self._derived: dict[str, str] = {}
        self.fields: dict[str, dict[str, Any]] = {}
        self.missing: list[str] = []
        self.open_host = False

    @property
    def derive(self) -> dict[str, str]:
        """The formulas that placements and parameters need."""
        return dict(self._derived)

    def grant(self, theirs: str, ours: str) -> None:
        """Another value that the grant makes."""
        self._granted[theirs] = ours

    def lack(self, what: str) -> None:
        """Note what is left out."""
        if what not in self.missing:
            self.missing.append(what)

    def address(self, text: str, what: str) -> str:
        """An address. Raises Refused for one that would hold a secret, or is none."""
        template = self._chosen(text, what, public=True)
        if template.startswith("{"):
            name = template[1 : template.index("}")]
            self.lack(f"address: {name} is asked for as a host, not as a whole address")
            template = f"https://{template}"
        if re.search(r"\{[^}]*$", template) or not _HOST.match(template):
            raise Refused(f"{what}: {template[:80]!r} is no https address")
        self._look_at_host(template)
        return template.rstrip("/")

    def _look_at_host(self, template: str) -> None:
        host = _HOST.match(template)
        authority = "" if host is None else host[1]
        if "{" not in authority:
            return
        _, _, fixed = authority.rpartition("}")
        labels = [label for label in fixed.partition(":")[0].split(".")[1:] if label] if fixed.startswith(".") else []
        registrable = len(labels) > 2 or (len(labels) == 2 and not (labels[0] in _SECOND_LEVEL and len(labels[1]) == 2))
        chosen = all(self.fields.get(name, {}).get("choices") for name in sdk.fill.holes(authority))
        self.open_host |= not registrable and not chosen

    def constant(self, text: str) -> str | None:
        """The text, if nothing is named in it."""
        if "||" in text:
            return None
        pieces = self._pieces(text)
        return "".join(str(piece) for piece in pieces) if all(isinstance(piece, str) for piece in pieces) else None

    def template(self, text: str, what: str) -> str:
        """A text of an exchange: each value in its braces, functions as what is derived."""
        return self._chosen(text, what, public=False)

    def shown(self, text: str, what: str) -> str:
        """A placement's template, which names one secret: what names several, or one that is none, is derived. Raises Refused."""
        template = self._chosen(text, what, public=False)
        holes = sdk.fill.holes(template)
        if len(holes) == 1 and (holes[0] not in self.fields or self.fields[holes[0]].get("secret")):
            return template
        return "{" + self._derive(what, template) + "}"

    def _chosen(self, text: str, what: str, *, public: bool) -> str:
        """The side that can be filled: the first, if what it lacks has a default or can be given one, else the second."""
        first, *second = texts.sides(text)
        pieces = self._pieces(first)
        if not second:
            return self._rendered(pieces, what, public=public)
        other = self._pieces(second[0])
        holes = [piece for piece in pieces if isinstance(piece, Hole)]
        if len(holes) == 1 and not texts.names(other):
            filled = self._default(pieces, "".join(str(piece) for piece in other))
            if filled is not None:
                name = self._name(holes[0].name, public=True)
                if self.fields[name].setdefault("default", filled) == filled:
                    return self._rendered(pieces, what, public=public)
        if self._resolves(pieces) or (texts.names(other) and not self._resolves(other, asked=True)):
            if not self._resolves(pieces):
                self.lack(f"alternative: {what} only with {', '.join(texts.names(pieces))}")
            return self._rendered(pieces, what, public=public)
        self.lack(f"alternative: {what} not with {', '.join(texts.names(pieces))}")
        return self._rendered(other, what, public=public)

    def _default(self, pieces: tuple[Piece, ...], other: str) -> str | None:
        """What the one value of the pieces would be for the other text to come out."""
        at = next(index for index, piece in enumerate(pieces) if isinstance(piece, Hole))
        before, after = "".join(map(str, pieces[:at])), "".join(map(str, pieces[at + 1 :]))
        fits = other.startswith(before) and other.endswith(after) and len(other) > len(before) + len(after)
        return other[len(before) : len(other) - len(after)] if fits else None

    def _resolves(self, pieces: tuple[Piece, ...], *, asked: bool = False) -> bool:
        """Whether everything that the pieces name has a default or, if `asked`, is what people are asked for."""
        for reference in texts.names(pieces):
            section, name = _split(reference)
            known = self.fields.get(self._called.get((section, name), ""), {})
            said = self._declared.get(section, {}).get(name, {})
            if not (
                known.get("default") or (asked and said and not said.get("optional") and not said.get("automated"))
            ):
                return False
        return True

    def _pieces(self, text: str) -> tuple[Piece, ...]:
        """The text, with what is fixed put in."""
        return tuple(self._fixed(piece) for piece in texts.parse(text))

    def _fixed(self, piece: Piece) -> Piece:
        if isinstance(piece, Hole):
            section, name = _split(piece.name)
            said = self._declared.get(section, {}).get(name, {})
            hidden = said.get("hidden") is True
            return as_text(said.get("default_value", ""), name) if hidden else piece
        return (
            Call(piece.function, tuple(self._fixed(each) for each in piece.inner)) if isinstance(piece, Call) else piece
        )

    def _rendered(self, pieces: tuple[Piece, ...], what: str, *, public: bool) -> str:
        return "".join(self._piece(each, what, public=public) for each in pieces)

    def _piece(self, piece: Piece, what: str, *, public: bool) -> str:
        if isinstance(piece, str):
            return piece
        if isinstance(piece, Hole):
            return "{" + self._name(piece.name, public=public) + "}"
        if public:
            raise Refused(f"{what}: an address is not calculated")
        if not texts.names((piece,)):
            return str(sdk.fill.evaluate(self._formula(piece), {}))
        return "{" + self._derive(what, self._formula(piece)) + "}"

    def _formula(self, call: Call) -> str:
        inner = call.inner
        if len(inner) == 1 and isinstance(inner[0], Call):
            return f"{call.function}({self._formula(inner[0])})"
        if any(isinstance(each, Call) for each in inner):
            raise Refused("template: a function stands beside other text in a function")
        return f"{call.function}({self._rendered(inner, '', public=False)})"

    def _derive(self, what: str, formula: str) -> str:
        """The name of what the formula makes. Raises Refused for one that is always the same."""
        if not sdk.fill.holes(formula):
            raise Refused(f"{what}: a formula of nothing")
        for name, known in self._derived.items():
            if known == formula:
                return name
        stem = our_name(f"shown_{what}")[:36]
        name = next(each for each in (stem, *(f"{stem}_{n}" for n in range(2, 99))) if each not in self._taken())
        self._derived[name] = formula
        return name

    def field(self, section: str, name: str, *, secret: bool | None = None) -> str:
        """A field that is asked for although no text names it, or before one does."""
        return self._add(section, name, secret=secret, public=False)

    def alias(self, section: str, theirs: tuple[str, ...], ours: str, *, secret: bool) -> None:
        """A field that has several names with them."""
        known = next((name for name in theirs if name in self._declared.get(section, {})), theirs[0])
        self._called[section, known] = ours
        self.fields[ours] = _field(
            ours, known, section, self._declared.get(section, {}).get(known, {}), secret=secret, public=False
        )
        for name in theirs:
            self._called[section, name] = ours

    def _name(self, reference: str, *, public: bool) -> str:
        if reference in self._granted:
            if public:
                raise Refused(f"address: it would hold {reference}")
            return self._granted[reference]
        section, name = _split(reference)
        if section not in ("connection_config", "credentials"):
            raise Refused(f"template: nothing is known of {reference[:60]}")
        return self._add(section, name, secret=None, public=public)

    def _add(self, section: str, name: str, *, secret: bool | None, public: bool) -> str:
        known = self._called.get((section, name))
        if known is None:
            known = self._free(our_name(name), section)
            self._called[section, name] = known
            said = self._declared.get(section, {}).get(name, {})
            self.fields[known] = _field(known, name, section, said, secret=secret, public=public)
            self._note(known, name, said)
        if public and self.fields[known].get("secret"):
            raise Refused(f"address: it would hold the secret {known}")
        return known

    def _note(self, ours: str, name: str, said: Mapping[str, Any]) -> None:
        if said.get("automated") is True:
            self.lack(f"automatic: {ours} is asked for, and not found out")
        pattern, made = said.get("pattern"), self.fields[ours]
        if isinstance(pattern, str) and "pattern" not in made and not made.get("choices"):
            self.lack(f"pattern: that of {ours} is none of ours")
        if made.get("secret") and said.get("default_value"):
            self.lack(f"default: the secret {ours} has none")

    def _free(self, name: str, section: str) -> str:
        prefix = "config" if section == "connection_config" else "given"
        if name in _RESERVED or name in self._taken():
            name = f"{prefix}_{name}"[:40]
        if name in self._taken():
            raise Refused(f"name: two values would be called {name}")
        return name

    def _taken(self) -> set[str]:
        return {*self.fields, *self._granted.values(), *self._derived}


def _split(reference: str) -> tuple[str, str]:
    """The section of a value, and its name in there."""
    head, dot, rest = reference.partition(".")
    if not dot:
        return "credentials", reference
    return {"connectionConfig": "connection_config", "credentials": "credentials", "credential": "credentials"}.get(
        head, head
    ), rest


def _field(
    ours: str, name: str, section: str, said: Mapping[str, Any], *, secret: bool | None, public: bool
) -> dict[str, Any]:
    lower = our_name(name)
    if secret is None:
        stated = said.get("secret")
        if isinstance(stated, bool) and stated:
            secret = True
        elif public and section != "credentials":
            secret = False
        elif section == "credentials":
            secret = not _LOOKS_PUBLIC.fullmatch(lower)
        else:
            secret = bool(_LOOKS_SECRET.search(lower))
    made: dict[str, Any] = {"name": ours}
    if secret:
        made["secret"] = True
    for theirs, our in (("title", "title"), ("description", "description"), ("example", "example")):
        if isinstance(said.get(theirs), str) and 0 < len(said[theirs].strip()) <= 2000:
            made[our] = said[theirs].strip()
    _limit(made, said)
    return made


def _limit(made: dict[str, Any], said: Mapping[str, Any]) -> None:
    """What the value may be: the choices, the form, the default, as far as they agree with each other."""
    secret = made.get("secret", False)
    options = said.get("enum")
    choices = cast("list[Any]", options) if isinstance(options, list) else []
    if choices and not secret and all(isinstance(each, str) and each for each in choices):
        made["choices"] = list(choices)
    default = said.get("default_value")
    if isinstance(default, str | int) and not isinstance(default, bool) and str(default) and not secret:
        made["default"] = str(default)
    pattern = said.get("pattern")
    if isinstance(pattern, str) and 0 < len(pattern) <= 2000 and _fits(pattern, made.get("default")):
        made["pattern"] = pattern
        if "example" in made and not _fits(pattern, made["example"]):
            del made["example"]
    if "default" in made and made["default"] not in made.get("choices", [made["default"]]):
        del made["choices"]


def _fits(pattern: str, text: str | None) -> bool:
    """Whether it is a pattern of ours, and the text has its form."""
    try:
        return sdk.fits(pattern, text or "") or text is None
    except SchemaError:
        return False
