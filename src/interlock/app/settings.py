"""Settings: a flag, then `INTERLOCK_*`, then the nearest `interlock.toml`, then the default."""

import getpass
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeAlias

from pydantic import (
    AfterValidator,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from interlock import plane, policy
from interlock.app import mistakes, rules, variables
from interlock.app.inference_settings import InferenceSettings
from interlock.app.mistakes import InvalidSettings
from interlock.app.terms import Address, McpSettings, Name, Part, ShortName
from interlock.kernel import HOST_PORT, JSON, Caller

FILE_NAME = "interlock.toml"
_OTHER_TABLES: Final = ("policy", "budgets")
"""Top-level tables of the file that their own rooms read, with their own messages."""

_THEIR_NAMES: Final = (*_OTHER_TABLES, *(f"policy.{key}" for key in policy.KEYS))


def _allowance(entry: str) -> str:
    from interlock import plane  # here: most settings allow nothing

    try:
        plane.AddressPolicy(allow=[entry])
    except plane.InvalidAllowance as error:
        raise ValueError("must be host:port, [address]:port, an address or a network such as 10.0.0.0/8") from error
    return entry


def _path(text: str) -> str:
    if re.fullmatch(r"[\w.-]+(/[\w.-]+)*", text, re.ASCII) is None or len(text) > 80:
        raise ValueError("must be names of letters, digits, dots and dashes, joined by slashes; at most 80 characters")
    return text


def _module(text: str) -> str:
    if not all(part.isidentifier() for part in text.split(".")):
        raise ValueError("must be the name of a Python module, such as incidents.handlers")
    return text


_Path: TypeAlias = Annotated[str, AfterValidator(_path)]
_Allowance: TypeAlias = Annotated[str, AfterValidator(_allowance)]


class ConnectorSettings(Part):
    """What runs: `manifests` are files beside the settings file; `isolated` names connectors whose Python code runs in a
    child process; `programs` those whose profiles may run the provider's program here, as us, for a token."""

    manifests: tuple[Address, ...] = ()
    isolated: tuple[Name, ...] = ()
    programs: tuple[Name, ...] = ()


class AppSettings(Part):
    """The operator's own program: `modules` are imported by what works (`interlock serve`, `interlock worker`), for the handlers
    that are marked in them. `agents` are files of specs beside the settings file, by the names under which others ask
    them, and `workflows` files of workflows."""

    modules: tuple[Annotated[str, AfterValidator(_module)], ...] = ()
    agents: Mapping[ShortName, Address] = Field(default_factory=dict[str, str])
    workflows: Mapping[ShortName, Address] = Field(default_factory=dict[str, str])


class ApprovalSettings(Part):
    """`self_review` lets a lone operator approve what they asked for; the record says so. Expiry in seconds."""

    self_review: bool = False
    expires_after: Annotated[float, Field(gt=0, le=30 * 86400)] = 86400.0


class PlaceSettings(Part):
    """Somewhere else where commands may run. `url`: `ssh://user@host:port`, `guest://host:port` or `guest+unix:///path`. By
    SSH: `identity` is the file of our private key, `host_keys` are fingerprints or public keys that the host may show, and
    `known_hosts` is a file of them. A guest: `token` is the file of the token that both hold."""

    url: str
    identity: str | None = None
    host_keys: tuple[str, ...] = ()
    known_hosts: str | None = None
    token: str | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if plane.parse_place(self.url).scheme == "ssh":
            if self.identity is None or self.token is not None or not (self.host_keys or self.known_hosts):
                raise ValueError("a place by SSH has an `identity`, and `host_keys` or `known_hosts`")
        elif self.token is None or self.identity is not None or self.host_keys or self.known_hosts is not None:
            raise ValueError("a guest has a `token`, and nothing else")
        return self


class ExecutionSettings(Part):
    """`owner_lease`: seconds after which a silent process counts as dead. `egress_allow`: host:port, addresses or CIDRs that
    may be reached although they are private. `places`: where else commands may run. `inline_bytes`: larger artifacts go to the
    blob store. `retry_wait`: the longest pause, in seconds, that a direct call makes between attempts.
    `trace_to`: services, as host:port, that are told which trace a request belongs to."""

    owner_lease: Annotated[float, Field(ge=1, le=300)] = 8.0
    egress_allow: tuple[_Allowance, ...] = ()
    places: tuple[PlaceSettings, ...] = ()
    inline_bytes: Annotated[int, Field(ge=0, le=1_048_576)] = 65_536
    retry_wait: Annotated[float, Field(ge=0, le=300)] = 5.0
    trace_to: tuple[Annotated[Name, Field(pattern=HOST_PORT)], ...] = ()


class OAuthSettings(Part):
    """Our client at a service, as it was registered there by hand; `issuer` is the authorization server, where only the service
    names it, as MCP servers do. The secret stands in an environment variable or a file, the
    key (PEM) that signs assertions or goes with the certificate in files; none is stored."""

    client_id: str
    issuer: Address | None = None
    client_secret_env: str | None = None
    client_secret_file: str | None = None
    private_key_file: str | None = None
    certificate_file: str | None = None
    key_id: str | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.client_secret_env is not None and self.client_secret_file is not None:
            raise ValueError("the secret stands in one place: `client_secret_env` or `client_secret_file`")
        if self.certificate_file is not None and self.private_key_file is None:
            raise ValueError("a certificate is shown with its key: `private_key_file`")
        return self


class KeySettings(Part):
    """`root` says where the root key lies: with us, or in a service that wraps the other keys and never gives it out.
    `vault_key` is the transit engine's mount and the key's name, `vault_token_file` the file with the token (else VAULT_TOKEN),
    `vault_authorities` a file of certificates in PEM. `aws_key` is an ARN. What is named beside `root` is taken for a store
    that goes over from there."""

    root: Literal["local", "vault-transit", "aws-kms"] = "local"
    vault_address: Address | None = None
    vault_key: _Path | None = None
    vault_namespace: _Path | None = None
    vault_token_file: Address | None = None
    vault_authorities: Address | None = None
    aws_key: Name | None = None
    aws_endpoint: Address | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.vault_address is None) is not (self.vault_key is None):
            raise ValueError("`vault_address` and `vault_key` go together")
        if self.vault_key is not None and "/" not in self.vault_key:
            raise ValueError("`vault_key` must be a mount and the name of a key, such as transit/interlock")
        if self.root == "vault-transit" and self.vault_key is None:
            raise ValueError("`root` is vault-transit, which needs `vault_address` and `vault_key`")
        if self.root == "aws-kms" and self.aws_key is None:
            raise ValueError("`root` is aws-kms, which needs `aws_key`")
        return self


def _origin(text: str) -> str:
    try:
        url = plane.parse_url(f"{text}/")
    except ValueError as error:
        raise ValueError("must be an address such as https://connect.example.com, without a path") from error
    if url.target != "/" or (url.scheme != "https" and url.host != "127.0.0.1"):
        raise ValueError("must be https://HOST without a path, or on this machine http://127.0.0.1:PORT")
    return text


class ConnectSettings(Part):
    """Where people reach the pages of `interlock serve`."""

    url: Annotated[str, AfterValidator(_origin)] = "http://127.0.0.1:8412"


class WebhookSettings(Part):
    """`keys_from`: hosts, as host:port, from which the keys of those who sign webhooks as JWTs may be fetched."""

    keys_from: tuple[Annotated[Name, Field(pattern=HOST_PORT)], ...] = ()


class RetentionSettings(Part):
    """`archive_after_days`: workers have runs leave for archives that ended so many days ago. `archive_folder`: where those
    lie. `evidence_days`: how long evidence is kept that is no run's. `sessions_days`: how long sessions with agents are kept in
    which nothing happens."""

    archive_after_days: Annotated[float, Field(ge=1, le=36_500)] | None = None
    archive_folder: Address | None = None
    evidence_days: Annotated[float, Field(ge=1, le=36_500)] = 90.0
    sessions_days: Annotated[float, Field(ge=1, le=36_500)] | None = None


class MemorySettings(Part):
    """Where agents' memory is kept: by which `provider`, opened with which `config`, which is the provider's own. `timeout`:
    seconds that one of its operations may take."""

    provider: Name = "sqlite"
    config: Mapping[Name, Any] = Field(
        default_factory=dict[str, Any], repr=False
    )  # an address may have a password in it
    timeout: Annotated[float, Field(gt=0, le=3_600)] | None = None


_SQLITE: Final = "sqlite:///"
_MEMORY: Final = ":memory:"


def is_memory(store: str) -> bool:
    """Whether a store at that address ends with its process."""
    return store.removeprefix(_SQLITE) == _MEMORY


class Settings(Part):
    """Everything that an operator can set. `store` is a path or a database URL; `oauth` has our clients by connector;
    `policy_file` replaces the `[policy]` and `[[budgets]]` tables of the settings file. Raises InvalidSettings, also where a
    program makes them by hand."""

    store: Address = ".interlock/interlock.db"
    blobs: Address | None = None
    tenant: Name = "default"
    actor: Name = Field(default_factory=lambda: f"local:{getpass.getuser()}")
    roles: frozenset[Name] = frozenset({"approver"})
    environment: Name = "dev"
    policy_file: Address | None = None
    app: AppSettings = AppSettings()
    connectors: ConnectorSettings = ConnectorSettings()
    approvals: ApprovalSettings = ApprovalSettings()
    execution: ExecutionSettings = ExecutionSettings()
    connect: ConnectSettings = ConnectSettings()
    oauth: Mapping[Name, OAuthSettings] = Field(default_factory=dict[str, OAuthSettings])
    mcp: Mapping[ShortName, McpSettings] = Field(default_factory=dict[str, McpSettings])
    keys: KeySettings = KeySettings()
    retention: RetentionSettings = RetentionSettings()
    webhooks: WebhookSettings = WebhookSettings()
    memory: MemorySettings = MemorySettings()
    inference: InferenceSettings = InferenceSettings()
    output: Literal["auto", "plain"] = "auto"
    folder: Path = Field(default_factory=Path.cwd)
    """Where relative paths start: the settings file's folder, or the working directory."""

    @field_validator("blobs")
    @classmethod
    def _check_blobs(cls, blobs: str | None, given: ValidationInfo) -> str | None:
        if blobs == _MEMORY and not is_memory(given.data.get("store", _MEMORY)):
            raise ValueError("must outlive the process as the store does, whose rows would name what is gone")
        return blobs

    @model_validator(mode="wrap")
    @classmethod
    def _in_our_words(cls, values: object, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(values)
        except ValidationError as error:
            raise InvalidSettings(mistakes.problems(cls, error.errors(), also=_THEIR_NAMES)) from error

    @property
    def caller(self) -> Caller:
        """Who acts, unless something says otherwise."""
        return Caller(tenant_id=self.tenant, actor=self.actor, roles=self.roles)

    @property
    def store_url(self) -> str:
        """The store with a relative path resolved against `folder`."""
        path = self.store.removeprefix(_SQLITE)
        if "://" in path or path == _MEMORY:
            return self.store
        return self.store.removesuffix(path) + str(self.folder / path)

    @property
    def blobs_url(self) -> str:
        """The blob store: as set, else a folder beside an embedded store."""
        if self.blobs is not None:
            whole = "://" in self.blobs or self.blobs == _MEMORY
            return self.blobs if whole else str(self.folder / self.blobs)
        if self.store_url.startswith(("postgresql://", "postgres://")):
            return str(self.folder / ".interlock" / "blobs")
        if is_memory(self.store):
            return _MEMORY
        return str(Path(self.store_url.removeprefix(_SQLITE)).parent / "blobs")

    @property
    def archive_path(self) -> Path:
        """The folder of archives: as set, else one beside an embedded store."""
        if self.retention.archive_folder is not None:
            return self.folder / self.retention.archive_folder
        if "://" in self.store.removeprefix(_SQLITE) or is_memory(self.store):
            return self.folder / ".interlock" / "archive"
        return Path(self.store_url.removeprefix(_SQLITE)).parent / "archive"


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsFile:
    """The settings file as read. Policy and budgets are in it too; they have parsers of their own."""

    path: Path
    document: policy.Document

    @property
    def values(self) -> Mapping[str, Any]:
        """Its top-level table."""
        return self.document.value


def find_file(start: Path) -> Path | None:
    """The nearest `interlock.toml`, from a folder upwards."""
    for folder in (start, *start.parents):
        if (folder / FILE_NAME).is_file():
            return folder / FILE_NAME
    return None


def read_file(path: Path) -> SettingsFile:
    """Read a settings file. Raises InvalidSettings with the line of a syntax error."""
    try:
        with path.open("rb") as file:
            content = file.read(policy.MAX_BYTES + 1)
    except OSError as error:
        text = f"cannot be read: {error.strerror}"
        raise InvalidSettings([policy.Problem(path=(), text=text, place=policy.Place(source=str(path)))]) from error
    return parse_file(path, content)


def parse_file(path: Path, content: str | bytes) -> SettingsFile:
    """What a settings file at this path says. Raises InvalidSettings with the line of a syntax error."""
    try:
        return SettingsFile(path=path, document=policy.parse_document(content, source=str(path)))
    except policy.InvalidPolicy as error:
        raise InvalidSettings(error.problems) from error


def load(file: SettingsFile | None, flags: Mapping[str, JSON] | None = None) -> Settings:
    """Put the sources together, setting by setting. `flags` are those that were given. Raises InvalidSettings naming every
    problem and where it stands, those of the file's policy and budgets among them."""
    flags = flags or {}
    told = variables.read(Settings, os.environ)
    values: dict[str, Any] = {}
    if file is not None:
        values = {name: value for name, value in file.values.items() if name not in _OTHER_TABLES}
        values["folder"] = file.path.parent

    def place(problem: policy.Problem) -> policy.Problem:
        if problem.path[0] in flags:
            return replace(problem, place=policy.Place(source=f"--{problem.path[0]}"), path=problem.path[1:])
        if (variable := told.found(problem.path)) is not None:
            return replace(problem, place=variable[0], path=variable[1])
        return problem if file is None else replace(problem, place=file.document.locate(problem.path))

    problems, merged = told.problems, variables.joined(variables.joined(values, told.values), flags)
    try:
        settings = Settings(**merged)
    except InvalidSettings as error:
        problems = [*error.placed(place).problems, *problems]
    else:
        if not problems:
            return settings
    if file is not None and merged.get("policy_file") is None:
        problems = [*problems, *rules.problems(file.document)]
    raise InvalidSettings(sorted(problems, key=_line))


def _line(problem: policy.Problem) -> int:
    """Problems are told in the file's order, and then those of other places."""
    return (problem.place and problem.place.line) or policy.MAX_BYTES
