"""What an attempt leaves for good: content under its digest, in the ledger or in the blob store."""

import logging
from urllib.parse import quote

from interlock.kernel import REDACTED, StoreError, digest_bytes
from interlock.runs.model import Artifact, Attempt
from interlock.runs.wiring import Wiring

_log = logging.getLogger(__name__)


async def kept(wiring: Wiring, attempt: Attempt, name: str, content: bytes) -> Artifact:
    """JSON that the attempt came to, as the artifact to be written with its end."""
    blob_key = await _put(wiring, attempt, content)
    return Artifact(
        artifact_id=wiring.ids.new("art"),
        run_id=attempt.run_id,
        attempt_id=attempt.attempt_id,
        tenant_id=attempt.tenant_id,
        name=name,
        media_type="application/json",
        digest=digest_bytes(content),
        size=len(content),
        content=content if blob_key is None else None,
        blob_key=blob_key,
        redacted=REDACTED.encode() in content,
        created_at=wiring.clock.now(),
    )


async def _put(wiring: Wiring, attempt: Attempt, content: bytes) -> str | None:
    """Where large content was put. None: it stays in the ledger, because it is small or the blob store is down."""
    if len(content) <= wiring.limits.inline_bytes:
        return None
    key = _key(attempt.tenant_id, content)
    try:
        await wiring.blobs.put(key, content)
    except StoreError as error:
        _log.warning("%s: its output stays in the ledger: %s", attempt.run_id, error)
        return None
    return key


def _key(tenant_id: str, content: bytes) -> str:
    """Where a tenant's content lies in a blob store: tenants share no content, so each can be removed by itself."""
    name = digest_bytes(content).removeprefix("sha256:")
    return f"tenant-{quote(tenant_id, safe='')}/sha256/{name[:2]}/{name}"
