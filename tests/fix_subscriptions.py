"""A subscription and a message, for tests of what becomes of them."""

from datetime import UTC, datetime

from interlock.connections import Sealed
from interlock.subscriptions import Event, Message, MessageState, Scheme, State, Subscription, Wish

NOW = datetime(2026, 5, 1, tzinfo=UTC)
SUBSCRIPTION = Subscription(
    subscription_id=f"sub_{1:032x}",
    tenant_id="t1",
    url="https://example.com/hooks",
    wish=Wish(types=("run.*",)),
    scheme=Scheme.HMAC,
    state=State.ACTIVE,
    reason=None,
    sealed=Sealed(key_id="key_1", nonce=b"n", ciphertext=b"c"),
    public_keys=(),
    overlap_until=None,
    failing_since=None,
    revision=1,
    created_by="ann",
    created_at=NOW,
    updated_at=NOW,
)
MESSAGE = Message(
    message_id=f"msg_{1:032x}",
    tenant_id="t1",
    subscription_id=SUBSCRIPTION.subscription_id,
    position=1,
    type="run.completed",
    state=MessageState.PENDING,
    tries=0,
    due_at=NOW,
    claimed_until=None,
    status=None,
    error=None,
    created_at=NOW,
    finished_at=None,
)
EVENT = Event(
    position=1,
    event_id="evt_1",
    tenant_id="t1",
    type="run.completed",
    at=NOW,
    capability="github.issue.create",
    connection_id="con_1",
    data={"run_id": "run_1"},
)
