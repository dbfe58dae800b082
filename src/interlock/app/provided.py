"""What the operator provides beside the settings: the root key, policy and budgets, manifest files."""

import difflib
import os
from collections.abc import Awaitable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from interlock import budgets, catalog, policy, sdk
from interlock.app import rules
from interlock.app.settings import Settings, SettingsFile
from interlock.kernel import ConfigurationError, Secret

if TYPE_CHECKING:
    from interlock import connections


PASSED_ON: Final = (
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "TMPDIR", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME",
    "DBUS_SESSION_BUS_ADDRESS", "SSH_AUTH_SOCK", "GNUPGHOME", "PASSWORD_STORE_DIR",
)  # fmt: skip
"""What a program that is asked for a secret knows of our environment: where it finds itself and its own things."""


class FileUnreadable(ConfigurationError):
    """The policy file or a manifest that the settings name cannot be read."""

    code = "file_unreadable"


class ClientSecretMissing(ConfigurationError):
    """The environment variable that is to hold an OAuth client's secret is empty or not set."""

    code = "client_secret_missing"
    next_step = "Set the variable to the secret that the service gave with the client's id."


class CannotIsolate(ConfigurationError):
    """A connector that is to be isolated is not there, or names Python that would run inside this process all the same."""

    code = "cannot_isolate"
    next_step = "Declare how its writes are settled as data (`path`), or take it off `connectors.isolated`."


def read_client(settings: Settings, connector_id: str) -> "connections.exchange.Client | None":
    """Our OAuth client for a connector, if the settings have one. Read when it is needed, and kept nowhere. Raises
    FileUnreadable, ClientSecretMissing."""
    from interlock import connections

    said = settings.oauth.get(connector_id)
    if said is None:
        return None
    secret = None
    if said.client_secret_env is not None:
        text = os.environ.get(said.client_secret_env, "").strip()
        if not text:
            raise ClientSecretMissing(
                f"oauth.{connector_id}: the variable {said.client_secret_env} is empty or not set"
            )
        secret = Secret(text)
    elif said.client_secret_file is not None:
        secret = Secret(read_text(settings.folder / said.client_secret_file, "client secret").strip())
    files = ((said.private_key_file, "private key"), (said.certificate_file, "certificate"))
    key, chain = (None if name is None else Secret(read_text(settings.folder / name, what)) for name, what in files)
    return connections.exchange.Client(
        client_id=said.client_id,
        issuer=said.issuer,
        secret=secret,
        key=key,
        key_id=said.key_id,
        certificate=None if chain is None or key is None else (chain, key),
    )


def find_program(
    settings: Settings, errands: "connections.Errands", connector_id: str, tenant_id: str
) -> "connections.Run | None":
    """What runs the program that says a connector's tokens, if the settings let it: it acts with what our own user has, and so
    for our own tenant only."""
    allowed = connector_id in settings.connectors.programs and tenant_id == settings.tenant
    return partial(_run, errands, tenant_id=tenant_id) if allowed else None


def _run(errands: "connections.Errands", argv: Sequence[str], tenant_id: str) -> Awaitable[bytes]:
    env = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return errands.run(argv, env=env, tenant_id=tenant_id)


def secret_sources(errands: "connections.Errands") -> "dict[connections.SourceKind, connections.SecretSource]":
    """Who reads the secrets that are not kept in the store."""
    from interlock import connections
    from interlock.adapters import secrets

    return {
        connections.SourceKind.ENV: secrets.Environment(os.environ),
        connections.SourceKind.FILE: secrets.Files(),
        connections.SourceKind.COMMAND: secrets.Commands(partial(_run, errands)),
        connections.SourceKind.KEYRING: secrets.SystemKeyring(),
        connections.SourceKind.VAULT: secrets.Vault(errands.ask, os.environ),
        connections.SourceKind.AWS: secrets.AwsSecrets(),
    }


def has_store(settings: Settings) -> bool:
    """Whether the store that the settings name is there, in whatever state. Raises InvalidStoreUrl."""
    from interlock.adapters import sql

    return not any(isinstance(finding.error, sql.StoreMissing) for finding in sql.preflight(settings.store_url))


def show_store(settings: Settings) -> str:
    """The store's address for people, without a password. Raises InvalidStoreUrl."""
    from interlock.adapters import sql

    return sql.parse_address(settings.store_url).shown


def read_rules(settings: Settings, file: SettingsFile | None) -> tuple[policy.Policy, tuple[budgets.Rule, ...]]:
    """Policy and budgets from the policy file, else from the settings file. Raises FileUnreadable, and as
    `rules.read`."""
    if settings.policy_file is not None:
        path = settings.folder / settings.policy_file
        return rules.read(policy.parse_document(read_text(path, "policy file"), source=str(path)), alone=True)
    return (policy.DEFAULT, ()) if file is None else rules.read(file.document)


def read_catalog(settings: Settings, more: Sequence[sdk.Manifest] = ()) -> tuple[catalog.Discovery, catalog.Catalog]:
    """What is installed, and the capabilities; no store is needed. A manifest file that cannot be used, and a connector whose
    id is taken twice, are left out (`Catalog.left_out`). Raises CannotIsolate, and DuplicateConnector for one of `more`."""
    discovery = catalog.discover()
    manifests, unread = _read_manifests(settings)
    known = catalog.Catalog([*manifests, *more], installed=discovery, unread=unread)
    for each in more:
        known.fetch_connector(each.connector_id)
    for name in settings.connectors.isolated:
        found = known.find_connector(name)
        if found is not None and found.settled_by_code:
            raise CannotIsolate(
                f"the connector {name!r} cannot be isolated: Python functions settle {', '.join(found.settled_by_code)}, "
                "and they run inside this process"
            )
    there = sorted(known.connector_ids)
    for name in absent_isolated(settings, discovery, known):
        near = difflib.get_close_matches(name, there, n=1)
        # A name of what could not be read runs nothing, and stays isolated when it can be.
        if near or (_runs_handlers_here(settings, known) and not unread):
            raise CannotIsolate(
                f"connectors.isolated: there is no connector {name!r}; "
                + (f"did you mean {near[0]!r}?" if near else f"installed: {', '.join(there)}"),
                next_step="Correct the name, or take it off `connectors.isolated`.",
            )
    return discovery, known


def _read_manifests(settings: Settings) -> tuple[list[sdk.Manifest], list[catalog.Broken]]:
    """The connectors of the files that the settings name, and the files that are none."""
    manifests: list[sdk.Manifest] = []
    unread: list[catalog.Broken] = []
    for name in settings.connectors.manifests:
        path = settings.folder / name
        try:
            manifests.append(sdk.load_manifest(read_text(path, "manifest"), source=str(path)))
        except (FileUnreadable, sdk.InvalidManifest) as error:
            unread.append(catalog.Broken.of(str(path), error))
    return manifests, unread


def absent_isolated(settings: Settings, discovery: catalog.Discovery, known: catalog.Catalog) -> Sequence[str]:
    """The names in `connectors.isolated` that no connector here has. A broken one is here: it runs nothing, and stays
    isolated when it is mended."""
    return [
        name
        for name in settings.connectors.isolated
        if known.find_connector(name) is None and name not in discovery.names
    ]


def _runs_handlers_here(settings: Settings, known: catalog.Catalog) -> bool:
    """Whether there is a connector that a name may have been meant for. If there is none, nothing is exposed: it may be one
    that another program passes from Python."""
    return any(
        operation.handler is not None
        for each in known.connectors
        if each.connector_id not in settings.connectors.isolated
        for operation in each.operations
    )


def trusts(settings: Settings, discovery: catalog.Discovery, manifest: sdk.Manifest) -> bool:
    """Whether Python of this connector runs inside this process, where it can do whatever the process can: that of its
    declaration, if it is installed, and what it names, unless that is isolated."""
    if manifest.connector_id in discovery.names:
        return True
    return manifest.names_code and manifest.connector_id not in settings.connectors.isolated


def read_text(path: Path, what: str) -> str:
    """A file that the settings name. Raises FileUnreadable."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FileUnreadable(f"cannot read the {what} {path}: {error}") from error
