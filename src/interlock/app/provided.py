"""What the operator provides beside the settings: the root key, policy and budgets, manifest files."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from interlock import budgets, policy, sdk
from interlock.app.settings import Settings, SettingsFile
from interlock.kernel import ConfigurationError

if TYPE_CHECKING:
    from interlock.adapters import keys


class FileUnreadable(ConfigurationError):
    """The policy file or a manifest that the settings name cannot be read."""

    code = "file_unreadable"


def load_root(settings: Settings, *, create: bool) -> "keys.RootKey":
    """The root key; one made on the spot for a store in memory. Raises KeyMissing, KeyInvalid, KeyExposed."""
    from interlock.adapters import keys

    if ":memory:" in settings.store_url:
        return keys.fleeting_root()
    shared = settings.store_url.startswith(("postgresql://", "postgres://"))
    try:
        return keys.load_root(environ=os.environ, create=create and not shared, allow_generated=not shared)
    except keys.KeyMissing as error:
        if shared:
            error.next_step = f"Set INTERLOCK_KEY, the same for every process, to the output of: {keys.MAKE}"
        elif has_store(settings):
            error.next_step = keys.PUT_BACK
        raise


def has_store(settings: Settings) -> bool:
    """Whether the store that the settings name is there, in whatever state. Raises InvalidStoreUrl."""
    from interlock.adapters import sql

    return not any(isinstance(finding.error, sql.StoreMissing) for finding in sql.preflight(settings.store_url))


def show_store(settings: Settings) -> str:
    """The store's address for people, without a password. Raises InvalidStoreUrl."""
    from interlock.adapters import sql

    return sql.parse_address(settings.store_url).shown


def read_rules(settings: Settings, file: SettingsFile | None) -> tuple[policy.Policy, tuple[budgets.Rule, ...]]:
    """Policy and budgets from the policy file, else from the settings file. Raises InvalidPolicy, InvalidBudget."""
    if settings.policy_file is not None:
        path = settings.folder / settings.policy_file
        document = policy.parse_document(_read(path, "policy file"), source=str(path))
        judged = policy.from_policy_file(document)
    elif file is not None:
        document = file.document
        judged = policy.from_document(document)
    else:
        return policy.DEFAULT, ()
    limits = budgets.parse_rules(document.value.get("budgets", []), locate=document.locate)
    return judged, limits


def read_manifests(settings: Settings) -> list[sdk.Manifest]:
    """The connectors that the settings name as files. Raises FileUnreadable, sdk.InvalidManifest."""
    paths = [settings.folder / name for name in settings.connectors.manifests]
    return [sdk.load_manifest(_read(path, "manifest"), source=str(path)) for path in paths]


def _read(path: Path, what: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FileUnreadable(f"cannot read the {what} {path}: {error}") from error
