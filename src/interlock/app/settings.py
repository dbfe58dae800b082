"""Settings: a flag, then `INTERLOCK_*`, then the nearest `interlock.toml`, then the default."""

import difflib
import getpass
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, TypeGuard, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from interlock.kernel import JSON, ConfigurationError, InvalidJson, parse_json

FILE_NAME = "interlock.toml"
_MAX_FILE = 1_048_576
_PREFIX = "INTERLOCK_"
_OTHER_VARIABLES = frozenset({"KEY", "KEY_FILE", "DEBUG"})
"""Variables of ours that are no settings."""

_Problem: TypeAlias = tuple[str, str, str | None]
"""Where, what, and what may have been meant."""

_OTHER_TABLES = frozenset({"policy", "budgets"})
"""Top-level tables of the file that their own rooms read, with their own messages."""


class InvalidSettings(ConfigurationError):
    """A setting has a wrong name or value."""

    code = "invalid_settings"


class Part(BaseModel):
    """A table of settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ConnectorSettings(Part):
    """What runs: `manifests` are files beside the settings file; `isolated` names connectors whose Python code runs in a
    child process."""

    manifests: tuple[str, ...] = ()
    isolated: tuple[str, ...] = ()


class ApprovalSettings(Part):
    """`self_review` lets a lone operator approve what they asked for; the record says so. Expiry in seconds."""

    self_review: bool = False
    expires_after: Annotated[float, Field(gt=0, le=30 * 86400)] = 86400.0


class ExecutionSettings(Part):
    """`owner_lease`: seconds after which a silent process counts as dead. `egress_allow`: host:port, addresses or CIDRs that
    may be reached although they are private. `inline_bytes`: larger artifacts go to the blob store. `retry_wait`: the
    longest pause, in seconds, that a direct call makes between attempts."""

    owner_lease: Annotated[float, Field(ge=1, le=300)] = 10.0
    egress_allow: tuple[str, ...] = ()
    inline_bytes: Annotated[int, Field(ge=0, le=1_048_576)] = 65_536
    retry_wait: Annotated[float, Field(ge=0, le=300)] = 5.0


class Settings(Part):
    """Everything that an operator can set. `store` is a path or a database URL; `policy_file` replaces the `[policy]` and
    `[[budgets]]` tables of the settings file."""

    store: str = ".interlock/interlock.db"
    blobs: str | None = None
    tenant: str = "default"
    actor: str = Field(default_factory=lambda: f"local:{getpass.getuser()}")
    roles: frozenset[str] = frozenset({"approver"})
    environment: str = "dev"
    policy_file: str | None = None
    connectors: ConnectorSettings = ConnectorSettings()
    approvals: ApprovalSettings = ApprovalSettings()
    execution: ExecutionSettings = ExecutionSettings()
    output: Literal["auto", "plain"] = "auto"
    folder: Path = Field(default_factory=Path.cwd)
    """Where relative paths start: the settings file's folder, or the working directory."""

    @property
    def store_url(self) -> str:
        """The store with a relative path resolved against `folder`."""
        if "://" in self.store or self.store == ":memory:":
            return self.store
        return str(self.folder / self.store)

    @property
    def blobs_url(self) -> str:
        """The blob store: as set, else a folder beside an embedded store."""
        if self.blobs is not None:
            return self.blobs if "://" in self.blobs else str(self.folder / self.blobs)
        if self.store_url.startswith(("postgresql://", "postgres://")):
            return str(self.folder / ".interlock" / "blobs")
        return ":memory:" if ":memory:" in self.store_url else str(_plain_path(self.store_url).parent / "blobs")


class SettingsFile(Part):
    """The settings file as read: its text is kept, because policy and budgets have parsers of their own."""

    path: Path
    text: str
    values: dict[str, Any]


def find_file(start: Path) -> Path | None:
    """The nearest `interlock.toml`, from a folder upwards."""
    for folder in (start, *start.parents):
        if (folder / FILE_NAME).is_file():
            return folder / FILE_NAME
    return None


def read_file(path: Path) -> SettingsFile:
    """Read a settings file. Raises InvalidSettings with the line of a syntax error."""
    try:
        raw = path.read_bytes()
        if len(raw) > _MAX_FILE:
            raise InvalidSettings(f"{path} has {len(raw)} bytes; the limit is {_MAX_FILE}")
        text = raw.decode()
        return SettingsFile(path=path, text=text, values=tomllib.loads(text))
    except OSError as error:
        raise InvalidSettings(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidSettings(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from error
    except tomllib.TOMLDecodeError as error:
        raise InvalidSettings(f"{path} is not TOML: {error}") from error


def load(file: SettingsFile | None, flags: Mapping[str, JSON] | None = None) -> Settings:
    """Put the sources together, setting by setting. `flags` are those that were given. Raises InvalidSettings naming every
    problem."""
    values: dict[str, Any] = {}
    if file is not None:
        values = {name: value for name, value in file.values.items() if name not in _OTHER_TABLES}
        values["folder"] = file.path.parent
    problems: list[_Problem] = []
    values = _joined(_joined(values, _from_environment(os.environ, problems)), flags or {})
    try:
        settings = Settings(**values)
    except ValidationError as error:
        problems = [*map(_problem, error.errors()), *problems]
    else:
        if not problems:
            return settings
    raise _invalid(problems, file)


def _joined(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Both, and where both say something `over`."""
    joined = {**under, **over}
    for name in under.keys() & over.keys():
        if isinstance(under[name], dict) and isinstance(over[name], dict):
            joined[name] = {**under[name], **over[name]}
    return joined


def _from_environment(environ: Mapping[str, str], problems: list[_Problem]) -> dict[str, Any]:
    """The settings among the variables. An empty one counts as not set."""
    tables: dict[str, Any] = {}
    values: dict[str, Any] = {}
    for variable, text in environ.items():
        given = variable.upper().removeprefix(_PREFIX)
        if not text or given == variable.upper():
            continue
        name, _, inner = given.lower().partition("__")
        field = Settings.model_fields.get(name)
        if field is not None and _is_table(field.annotation):
            if inner:
                part = field.annotation.model_fields.get(inner)
                inside = {inner: _read(variable, text, None if part is None else part.annotation, problems)}
                values = _joined(values, {name: inside})
            else:
                tables[name] = _read(variable, text, field.annotation, problems)
        elif field is not None and not inner:
            values[name] = _read(variable, text, field.annotation, problems)
        elif (near := _misspelt(given)) is not None:
            problems.append((variable, "unknown setting", near))
    return _joined(tables, values)


def _read(variable: str, text: str, annotation: object, problems: list[_Problem]) -> Any:
    """A variable's value: tables and lists are JSON."""
    kind, wanted = (dict, "object") if _is_table(annotation) else (list, "list")
    if kind is list and get_origin(annotation) not in (tuple, frozenset):
        return text
    with suppress(InvalidJson):
        value = parse_json(text, what=variable, unique=True)
        if isinstance(value, kind):
            return value
    problems.append((variable, f"a JSON {wanted} is expected", None))
    return {} if kind is dict else []


def _invalid(problems: Sequence[_Problem], file: SettingsFile | None) -> InvalidSettings:
    lines = [f"{path}: {text}" + (f"; did you mean {near!r}?" if near else "") for path, text, near in problems]
    where = f" in {file.path}, the environment or the flags" if file else " in the environment or the flags"
    told: list[JSON] = [{"path": path, "problem": text, "suggestion": near} for path, text, near in problems]
    return InvalidSettings("; ".join(lines) + where, details={"problems": told})


def _problem(error: Mapping[str, Any]) -> _Problem:
    path = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return path, "unknown setting", _nearest(error["loc"])
    return path, error["msg"], None


def _misspelt(given: str) -> str | None:
    """Which of our variables somebody may have meant. One that looks like none of them is another program's, or
    Kubernetes' (INTERLOCK_PORT)."""
    known = [*_variables(Settings), *_OTHER_VARIABLES]
    if given in known:
        return None
    near = difflib.get_close_matches(given, known, n=1, cutoff=0.7)
    near += [each for each in known if each.startswith(given) or given.startswith(f"{each}__")]
    near += [each for each in known if each.endswith(f"__{given}") or sorted(each) == sorted(given)]
    return _PREFIX + near[0] if near else None


def _variables(model: type[BaseModel]) -> Iterator[str]:
    """The names of all settings as variables, without the prefix."""
    for name, field in model.model_fields.items():
        if _is_table(field.annotation):
            yield from (f"{name.upper()}__{inner}" for inner in _variables(field.annotation))
        else:
            yield name.upper()


def _is_table(annotation: object) -> TypeGuard[type[BaseModel]]:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _nearest(location: tuple[int | str, ...]) -> str | None:
    model: type[BaseModel] = Settings
    for part in location[:-1]:
        annotation = model.model_fields[str(part)].annotation if str(part) in model.model_fields else None
        if not _is_table(annotation):
            return None
        model = annotation
    near = difflib.get_close_matches(str(location[-1]), [*model.model_fields, *_OTHER_TABLES], n=1)
    return near[0] if near else None


def _plain_path(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))
