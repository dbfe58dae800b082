"""What is sent: as a draft, as an intent with its row, and with what became of it."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, cast

from pydantic import ValidationError

from interlock import connections, plane, sdk
from interlock.kernel import REDACTED, VERSION, Fact, Span, Tracing
from interlock.runs.call import Call
from interlock.runs.ledger import SendEnd
from interlock.runs.model import Attempt, Delivery, Purpose, Send
from interlock.runs.wiring import Wiring

USER_AGENT = f"interlock/{VERSION}"
_ALWAYS = (("user-agent", USER_AGENT), ("accept", "application/json"), ("content-type", "application/json"))
"""What a request says unless the connector says otherwise; the last of it only where there is a body."""
TRACEPARENT = "traceparent"
UNSURE = frozenset({408})
"""Client errors after which the service may have acted all the same, as after any 5xx."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An effect that is to be sent: `draw` makes its intent, of the fields that all intents share.
    `writes`: whether it may change something."""

    draw: Callable[[dict[str, Any]], plane.Intent]
    writes: bool
    purpose: Purpose


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A send that is committed, or about to be, with the intent that will leave."""

    send: Send
    intent: plane.Intent
    writes: bool


@dataclass(slots=True, kw_only=True)
class Sent:
    """What an attempt has sent so far, and what is known of it."""

    prepared: Prepared
    delivery: Delivery = Delivery.UNKNOWN
    status: int | None = None
    failed: bool = False
    receipt_json: str | None = None
    settled: bool = False
    left_at: datetime | None = None
    """When the last of its bytes were let go."""

    @property
    def effect(self) -> sdk.EffectState:
        """What is known of it, if it is a write."""
        if self.delivery is Delivery.UNKNOWN:
            return "unknown"
        if self.delivery is not Delivery.RESPONDED:
            return "none"
        if self.status is None:
            # A command that failed may have done something first. What a script did, its actions' own runs say.
            return "unknown" if self.failed and isinstance(self.prepared.intent, plane.ProcessIntent) else "happened"
        if self.status in UNSURE or self.status >= 500:
            return "unknown"
        return "none" if self.status >= 400 else "happened"

    def end(self, at: datetime) -> SendEnd:
        """What is known now, as the ledger keeps it."""
        return SendEnd(
            send_id=self.prepared.send.send_id, delivery=self.delivery, receipt_json=self.receipt_json, finished_at=at
        )


def traced(tracing: Tracing, call: Call, sent: Sent) -> AbstractContextManager[Span]:
    """The span of a send. The address that is asked for stays out of it: parts of it are input, or a credential."""
    send, intent = sent.prepared.send, sent.prepared.intent
    facts: dict[str, Fact] = {
        "interlock.send.id": send.send_id,
        "interlock.send.purpose": send.purpose.value,
        "interlock.target.class": send.target_class,
    }
    if not isinstance(intent, plane.HttpIntent):
        return tracing.span(f"execute {call.capability.capability_id}", role="client", facts=facts)
    host, _, port = call.host.rpartition(":")
    declared = call.operation.http
    template = None if declared is None or declared.proxied else declared.path
    facts |= {"http.request.method": intent.method, "server.address": host, "server.port": int(port)}
    name = intent.method if template is None else f"{intent.method} {template}"
    return tracing.span(name, role="client", facts={**facts, "url.template": template})


def tell(span: Span, receipt: plane.Receipt) -> None:
    """Tell a send's span what came of it."""
    span.note({"interlock.delivery": receipt.delivery.value, "http.response.status_code": receipt.status})
    if receipt.failure is not None:
        span.fail(receipt.failure.code)
    elif receipt.status is not None and receipt.status >= 400:
        span.fail(str(receipt.status))


async def ready(wiring: Wiring, target_class: str) -> None:
    """Have a target of that class there and proven, if one can be. Before the send is committed: it may take its time, and
    what is committed counts as sent."""
    await wiring.offered.ready(target_class)
    await wiring.node.prove(target_class)


def prepare(
    wiring: Wiring,
    call: Call,
    attempt: Attempt,
    draft: Draft,
    *,
    number: int,
    target_class: str,
    deadline_at: datetime,
    at: datetime,
) -> Prepared:
    """Turn a draft into an intent and its row of that moment. Nothing is written."""
    identity: dict[str, Any] = {
        "intent_id": wiring.ids.new("snd"),
        "tenant_id": attempt.tenant_id,
        "run_id": attempt.run_id,
        "attempt_id": attempt.attempt_id,
        "trace_id": call.request.trace_id or attempt.run_id,
        "deadline_at": deadline_at,
        "idempotency_key": call.request.idempotency_key,
    }
    intent = draft.draw(identity)
    send = Send(
        send_id=intent.intent_id,
        run_id=attempt.run_id,
        attempt_id=attempt.attempt_id,
        tenant_id=attempt.tenant_id,
        number=number,
        purpose=draft.purpose,
        target_class=target_class,
        intent_json=intent.canonical,
        intent_digest=intent.digest,
        delivery=Delivery.UNKNOWN,
        receipt_json=None,
        started_at=at,
        finished_at=None,
    )
    return Prepared(send=send, intent=intent, writes=draft.writes)


def request_draft(call: Call, lease: connections.Lease | None, request: sdk.HttpRequest) -> Draft:
    """A connector's request, to be sent."""
    content = request.content
    credentials = () if lease is None else connections.shown(call.profile, lease.lease_id)
    request = _without_echo(request, credentials)

    def draw(identity: dict[str, Any]) -> plane.Intent:
        try:
            return plane.HttpIntent(
                **identity,
                method=cast("Any", request.method),
                url=call.base_url + request.target,
                headers=_headers(request, has_body=content is not None),
                body=content or b"",
                credentials=credentials,
                allowed_hosts=(call.host,),
                timeouts=plane.Timeouts(total_ms=int(call.operation.timeout_seconds * 1000)),
                max_response_bytes=call.operation.max_response_bytes,
            )
        except ValidationError as error:
            # What requests alone cannot show: a place that the credential takes, a certificate without TLS.
            refused = f"{call.capability.capability_id}: this request cannot be sent: {plane.flaws(error)}"
            if call.capability.is_proxy:
                how = "Leave out what the connection shows by itself, and what belongs to the transport."
                raise sdk.InvalidArgument(refused, next_step=how) from error
            raise sdk.HandlerFailed(refused, effect="none") from error

    return Draft(draw=draw, writes=call.operation.may_write(request.method), purpose=Purpose(request.purpose.value))


def correlated(wiring: Wiring, call: Call, request: sdk.HttpRequest) -> sdk.HttpRequest:
    """The request, with the trace that it belongs to where its service is to know that; a connector's own word counts more."""
    told = wiring.tracing.traceparent() if call.host in wiring.trace_to else None
    if told is None or any(name.lower() == TRACEPARENT for name, _ in request.headers):
        return request
    return replace(request, headers=(*request.headers, (TRACEPARENT, told)))


def _without_echo(request: sdk.HttpRequest, credentials: Iterable[plane.CredentialRef]) -> sdk.HttpRequest:
    """Without the credential's parameters that a service's link repeated, and that were redacted on their way here: the lane
    puts them there anew."""
    own = {each.name for each in credentials if isinstance(each, plane.QueryCredential)}
    query = tuple((name, value) for name, value in request.query if name not in own or REDACTED not in value)
    return request if query == request.query else replace(request, query=query)


def _headers(request: sdk.HttpRequest, *, has_body: bool) -> tuple[tuple[str, str], ...]:
    given = {name for name, _ in request.headers}
    always = _ALWAYS if has_body else _ALWAYS[:2]
    return (*request.headers, *[header for header in always if header[0] not in given])
