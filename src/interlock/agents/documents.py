"""A spec as a text, YAML or JSON, and back: what is written is read as the same spec."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal

import orjson

from interlock import sdk
from interlock.agents.assembling import Defaults, assemble
from interlock.agents.errors import InvalidSpec
from interlock.agents.registry import Registry
from interlock.agents.spec import Spec
from interlock.agents.terms import LIMITS
from interlock.kernel import JSON, read_written, yaml_scalar

_WIDE: Final = 100


def read_spec(
    file: Path | str | bytes,
    *,
    source: str | None = None,
    registry: Registry | None = None,
    defaults: Defaults | None = None,
    complete: bool = False,
) -> Spec:
    """The spec in a file (a Path), or in a text. A text that starts with `{` is JSON, any other is YAML, read as JSON would be:
    no anchors, aliases or tags, no key twice, and `no` or a date is a text. At most 1,000,000 bytes, 64 levels and 20,000
    values. `source` names the origin in messages; `complete` is as in `assemble`. Raises InvalidSpec with all problems and
    their lines."""
    source = source or (str(file) if isinstance(file, Path) else "a spec")
    if (wrong := _no_document(file)) is not None:
        raise InvalidSpec(source, [sdk.Problem(path="$", problem=wrong)])
    try:
        if isinstance(file, Path):
            with file.open("rb") as stream:
                file = stream.read(LIMITS.max_bytes + 1)
        written = read_written(file, limits=LIMITS, what="spec")
    except (OSError, ValueError) as error:
        raise InvalidSpec(source, [sdk.Problem(path="$", problem=str(error))]) from error
    try:
        return assemble(written.value, source=source, registry=registry, defaults=defaults, complete=complete)
    except InvalidSpec as error:
        placed = [replace(each, line=written.line(each.path)) for each in error.problems]
        raise InvalidSpec(source, sorted(placed, key=lambda each: each.line or 0)) from error


def _no_document(file: object) -> str | None:
    """What is wrong with what is given as a file or a text, if it cannot be either."""
    if not isinstance(file, Path | str | bytes | bytearray):
        return f"a spec is read from a Path, a text or bytes, not from {type(file).__name__}"
    if isinstance(file, str) and file.endswith((".yaml", ".yml", ".json")) and "\n" not in file:
        return f"this is the name of a file: give it as a Path, Path({file[:200]!r})"
    return None


def write_spec(spec: Spec, form: Literal["yaml", "json"] = "yaml") -> str:
    """The spec as a text, which `read_spec` reads as the same spec."""
    told = spec.to_json()
    if form == "json":
        return orjson.dumps(told, option=orjson.OPT_INDENT_2).decode() + "\n"
    return write_document(told)


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of the documents that `read_spec` takes, for editors. It cannot tell all that is checked: what is
    named elsewhere, or twice."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Spec.model_json_schema()}


def write_document(told: Mapping[str, JSON]) -> str:
    """A JSON object as YAML that `kernel.parse_yaml` reads as the same one."""
    import yaml  # here, so that those who write none do not pay for it

    class Dumper(yaml.SafeDumper):
        """Writes what `parse_yaml` reads: other plain scalars than YAML's own are texts there, and some of its texts are not."""

        def ignore_aliases(self, data: object) -> bool:
            return True

    def text(dumper: Any, value: str) -> Any:
        plain = yaml_scalar(value, plain=True) == value
        style = "|" if "\n" in value and _is_block(value) else None if plain else '"'
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    def number(dumper: Any, value: float) -> Any:
        mantissa, sign, exponent = orjson.dumps(value).decode().partition("e")
        point = "" if "." in mantissa else ".0"  # without one it is no float to YAML, which would then say so by a tag
        return dumper.represent_scalar("tag:yaml.org,2002:float", f"{mantissa}{point}{sign}{exponent}")

    Dumper.add_representer(str, text)
    Dumper.add_representer(float, number)
    return yaml.dump(told, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=_WIDE)


def _is_block(text: str) -> bool:
    """Whether it can stand as a literal block and come back as it is."""
    lines = text.split("\n")
    return (
        not any(line != line.rstrip() or "\r" in line or not line.isprintable() for line in lines)
        and not text[0].isspace()
    )
