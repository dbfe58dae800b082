"""Settings: a flag, then `INTERLOCK_*`, then the nearest `interlock.toml`, then the default."""

import difflib
import getpass
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from interlock.kernel import JSON, ConfigurationError

FILE_NAME = "interlock.toml"
_MAX_FILE = 1_048_576
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


class Settings(BaseSettings):
    """Everything that an operator can set. `store` is a path or a database URL; `policy_file` replaces the `[policy]` and
    `[[budgets]]` tables of the settings file."""

    model_config = SettingsConfigDict(
        env_prefix="INTERLOCK_", env_nested_delimiter="__", extra="forbid", frozen=True, env_ignore_empty=True
    )

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


def load(file: SettingsFile | None, flags: dict[str, JSON] | None = None) -> Settings:
    """Put the sources together. `flags` are those that were given. Raises InvalidSettings naming every problem."""
    values: dict[str, Any] = {}
    if file is not None:
        values = {name: value for name, value in file.values.items() if name not in _OTHER_TABLES}
        values["folder"] = file.path.parent

    class WithFile(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            del dotenv_settings, file_secret_settings
            return (init_settings, env_settings, InitSettingsSource(settings_cls, init_kwargs=values))

    try:
        return WithFile(**cast("dict[str, Any]", flags or {}))
    except ValidationError as error:
        raise _invalid(error, file) from None


def _invalid(error: ValidationError, file: SettingsFile | None) -> InvalidSettings:
    problems: list[JSON] = []
    lines: list[str] = []
    for problem in error.errors():
        path = ".".join(str(part) for part in problem["loc"])
        near = _nearest(problem["loc"]) if problem["type"] == "extra_forbidden" else None
        text = "unknown setting" if near is not None or problem["type"] == "extra_forbidden" else problem["msg"]
        lines.append(f"{path}: {text}" + (f"; did you mean {near!r}?" if near else ""))
        problems.append({"path": path, "problem": text, "suggestion": near})
    where = f" in {file.path}, the environment or the flags" if file else " in the environment or the flags"
    return InvalidSettings("; ".join(lines) + where, details={"problems": problems})


def _nearest(location: tuple[int | str, ...]) -> str | None:
    model: type[BaseModel] = Settings
    for part in location[:-1]:
        annotation = model.model_fields[str(part)].annotation if str(part) in model.model_fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return None
        model = annotation
    near = difflib.get_close_matches(str(location[-1]), [*model.model_fields, *_OTHER_TABLES], n=1)
    return near[0] if near else None


def _plain_path(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))
