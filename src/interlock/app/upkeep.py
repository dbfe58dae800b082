"""An installation's health and age: examine everything without changing anything, and bring the store up to date."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from interlock import policy, sdk
from interlock.app import foreign, model_providers, provided, roots
from interlock.app import settings as configuration
from interlock.app.keychain import open_keychain
from interlock.app.settings import Settings, SettingsFile, is_memory
from interlock.kernel import JSON, InterlockError, StoreError, SystemClock, Uuid7Ids, is_interruption

if TYPE_CHECKING:
    from interlock.adapters import sql
    from interlock.app import assembly


_SHOWN: Final = 20

MANY_RUNS: Final = 250_000
"""A store with more takes some gigabytes: worth a look at how long they are kept."""


class Health(StrEnum):
    """How a check ended; `warn` is for what works and deserves a look."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check and what it found; `error` says what to do when it failed."""

    name: str
    health: Health
    found: str
    error: InterlockError | None = None

    def to_json(self) -> dict[str, JSON]:
        """For programs."""
        error = None if self.error is None else self.error.to_json()
        return {"check": self.name, "health": self.health.value, "found": self.found, "error": error}


async def examine(path: Path | None, flags: dict[str, JSON]) -> Sequence[Check]:
    """Check settings, policy, connectors, key and store, in that order. `path` is the settings file, None if there is
    none. Never raises for what is wrong; what depends on something that failed is left out."""
    checks: list[Check] = []
    try:
        file = None if path is None else configuration.read_file(path)
        settings = configuration.load(file, flags)
    except InterlockError as error:
        return [_failed("settings", error)]
    checks.append(_settings(file))
    checks.append(_policy(settings, file))
    checks += _connectors(settings)
    checks += _offers()
    checks.append(_key(settings))
    checks.append(_models(settings))
    checks += _store(settings)
    if all(check.health is not Health.FAIL for check in checks):
        checks += await _opens(settings, file)
    return checks


def migrate(settings: Settings) -> "sql.MigrationReport":
    """Bring an existing store up to date. Raises InvalidStoreUrl or a StoreError leaf; then nothing was changed."""
    from interlock.adapters import sql

    return sql.migrate(settings.store_url)


_THIS: Final = re.compile(r"(?:;| with) `interlock doctor`(?: checks all of them| looks again)?")
"""What next steps say of the examination to those who are not in it."""


def _failed(name: str, error: InterlockError) -> Check:
    error.next_step = _THIS.sub("", error.next_step)
    return Check(name=name, health=Health.FAIL, found=error.message, error=error)


def _settings(file: SettingsFile | None) -> Check:
    if file is None:
        return Check(name="settings", health=Health.WARN, found="no interlock.toml from here upwards: defaults hold")
    return Check(name="settings", health=Health.OK, found=str(file.path))


def _models(settings: Settings) -> Check:
    """Which providers of models there are, and whether their keys are where they are to be."""
    from interlock.adapters import models

    known = model_providers.list_model_providers(settings)
    found = [f"{each.name} ({each.source or 'without a key'})" for each in known if each.is_there]
    missing = [f"{each.name} ({each.source.partition(':')[2]} is not set)" for each in known if not each.is_there]
    if found and not models.is_installed():
        return Check(
            name="models", health=Health.WARN, found="`pip install 'interlock[inference]'` is needed to ask them"
        )
    wanting = any(each.name in settings.inference.providers for each in known if not each.is_there)
    told = "; ".join([*found, *([f"without a key: {', '.join(missing)}"] if missing else [])])
    return Check(name="models", health=Health.WARN if wanting else Health.OK, found=told)


def _policy(settings: Settings, file: SettingsFile | None) -> Check:
    try:
        judged, limits = provided.read_rules(settings, file)
    except InterlockError as error:
        return _failed("policy", error)
    strays = _strays(settings, judged)
    if problems := [each.problem() for each in strays if each.protects_nothing]:
        return _failed("policy", policy.RuleAstray(problems))
    if strays:
        return Check(name="policy", health=Health.WARN, found="; ".join(str(each.problem()) for each in strays))
    review = "; requesters may approve their own calls" if settings.approvals.self_review else ""
    found = f"{len(judged.rules)} rules, {len(limits)} budgets; what no rule matches: {judged.default}{review}"
    return Check(name="policy", health=Health.OK, found=found)


def _strays(settings: Settings, judged: policy.Policy) -> list[policy.Stray]:
    """Patterns of rules that match nothing that is installed."""
    try:
        _, known = provided.read_catalog(settings)
    except InterlockError:
        return []  # said by another check
    there = [f"{each.connector_id}.{one.operation_id}" for each in known.connectors for one in each.operations]
    there += [f"{each.connector_id}.{one.operation_id}" for each in known.connectors for one in sdk.PROXIES]
    loaded = {each.connector_id for each in known.connectors}
    # Providers are in the store: each is looked over when it is called.
    named = {each.partition(".")[0] for rule in judged.rules for each in (*rule.capability, *rule.connector)}
    providers = {each for each in named if each.startswith(sdk.PROVIDER_PREFIX)}
    return list(policy.find_strays(judged.rules, there, elsewhere=(known.connector_ids - loaded) | providers))


def _connectors(settings: Settings) -> Iterator[Check]:
    try:
        discovery, known = provided.read_catalog(settings)
    except InterlockError as error:
        yield _failed("connectors", error)
        return
    for manifest in known.connectors:
        trust = "is trusted inside this process" if provided.trusts(settings, discovery, manifest) else "is data only"
        if manifest.connector_id in settings.connectors.isolated and manifest.names_code:
            declared = "is declared inside this process; " if manifest.connector_id in discovery.names else ""
            trust = f"{declared}its handlers run in a child process"
        found = f"{manifest.version}, {len(manifest.operations)} operations; {trust}"
        unloadable = "" if manifest.connector_id in settings.connectors.isolated else _unloadable(manifest)
        health = Health.WARN if unloadable else Health.OK
        yield Check(name=f"connector {manifest.connector_id}", health=health, found=f"{found}{unloadable}")
    for name in provided.absent_isolated(settings, discovery, known):
        found = "is to be isolated, and is not here: a program may pass it from Python"
        yield Check(name=f"connector {name}", health=Health.WARN, found=found)
    for broken in known.left_out:
        yield _failed(f"connector {broken.entry_point}", broken.refusal())
    for broken in known.problems:
        if broken in known.left_out:
            continue
        found = f"is broken and left out ({broken.distribution or 'unknown package'}): {broken.problem}"
        yield Check(name=f"connector {broken.entry_point}", health=Health.WARN, found=found)


def _unloadable(manifest: sdk.Manifest) -> str:
    """What of the Python that it names cannot be loaded here; another program may have it."""
    named = [each.handler or (each.reconcile and each.reconcile.function) for each in manifest.operations]
    problems: list[str] = []
    for reference in sorted({each for each in named if each}):
        try:
            sdk.load_function(reference)
        except sdk.HandlerFailed as error:
            problems.append(f"; {error.message}")
    return "".join(problems)


def _offers() -> Iterator[Check]:
    """Lanes and targets of installed packages."""
    from interlock.app.assembly import OUR_CLASSES

    for offer in foreign.offers(taken=OUR_CLASSES):
        name = f"target {offer.target_class}"
        try:
            offer.load()
        except BaseException as error:
            if is_interruption(error):
                raise
            found = f"is broken and left out ({offer.distribution}): {type(error).__name__}: {error}"[:500]
            yield Check(name=name, health=Health.WARN, found=found)
        else:
            found = f"of {offer.distribution}; is trusted inside this process"
            yield Check(name=name, health=Health.OK, found=found)


def _key(settings: Settings) -> Check:
    try:
        root = roots.load_root(settings, create=False)
    except InterlockError as error:
        return _failed("key", error)
    return Check(name="key", health=Health.OK, found=f"{root.root_id} from {root.source}")


def _store(settings: Settings) -> Iterator[Check]:
    from interlock.adapters import sql

    try:
        findings = sql.preflight(settings.store_url)
    except InterlockError as error:
        yield _failed("store", error)
        return
    for finding in findings:
        name = f"store {finding.check}"
        if finding.error is not None:
            yield _failed(name, finding.error)
        else:
            yield Check(name=name, health=Health.OK, found="good")


async def _opens(settings: Settings, file: SettingsFile | None) -> list[Check]:
    """Whether the key is the store's own, which only opening tells; whether large content can be kept, and is there; and
    whether keys are half replaced."""
    from interlock.app import assembly

    clock = SystemClock()
    try:
        parts = await assembly.assemble(settings, file=file, clock=clock, ids=Uuid7Ids(clock), create=False)
    except StoreError as error:
        return [_failed("store opens", error)]
    except InterlockError as error:
        return [_failed("key fits", error)]
    try:
        fits = Check(name="key fits", health=Health.OK, found="the store opens under this key")
        return [
            fits,
            await _blobs(parts),
            *await _disabled(parts),
            *await _unkept(parts),
            *await _unfinished(settings),
        ]
    finally:
        await assembly.close(parts)


async def _blobs(parts: "assembly.Parts") -> Check:
    """One piece of what was kept there stands for all of it."""
    from interlock.adapters import blobs

    url, ledger = parts.settings.blobs_url, parts.wiring.ledger
    place = blobs.ObjectBlobs(url)
    try:
        place.check()
        artifact = await parts.store.read(ledger.find_in_blobs)
        if artifact is not None:
            await parts.reading.content(artifact)
    except StoreError as error:
        return _failed("blobs", error)
    found = "nothing is kept there yet" if artifact is None else "what was kept there can be read"
    if place.is_open_to_others:
        found += f"; its mode lets other users in: `chmod -R go= {url.removeprefix('file://')}`"
        return Check(name="blobs", health=Health.WARN, found=f"{url}: {found}")
    return Check(name="blobs", health=Health.OK, found=f"{url}: {found}")


async def _unkept(parts: "assembly.Parts") -> Sequence[Check]:
    """Runs that nobody has said how long to keep, once there are many."""
    if parts.settings.retention.archive_after_days is not None:
        return []
    many = await parts.store.read(lambda tx: parts.wiring.ledger.has_more(tx, MANY_RUNS))
    found = f"more than {MANY_RUNS:,} runs, and none ever leaves: `archive_after_days` in [retention] says when they do"
    return [Check(name="retention", health=Health.WARN, found=found)] if many else []


async def _disabled(parts: "assembly.Parts") -> Sequence[Check]:
    """Subscriptions that are told no more."""
    found = await parts.store.read(lambda tx: parts.outgoing.records.list_disabled(tx, limit=_SHOWN))
    told = "`interlock subscriptions resume` goes on, once its receiver is mended"
    return [
        Check(
            name=f"subscription {each.subscription_id}",
            health=Health.WARN,
            found=f"of {each.tenant_id} is disabled ({each.reason}); {told}",
        )
        for each in found
    ]


async def _unfinished(settings: Settings) -> Sequence[Check]:
    """Replacements of keys that nobody has finished."""
    if is_memory(settings.store):
        return []
    async with open_keychain(settings) as chain:
        status = await chain.status()
    found = [
        f"the rotation of {each.tenant_id} stopped at {each.resealed} of {each.total} secrets: `interlock keys rotate` goes on"
        for each in status.rotations
    ]
    if status.root is not None and status.needed not in {None, status.root.root_id}:
        found.append("the store is under the previous root key: `interlock keys rotate --root` has it go over")
    return [Check(name="key rotation", health=Health.WARN, found=each) for each in found]
