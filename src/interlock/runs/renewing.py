"""What a run does when its credential no longer opens the service: it goes on with the next one, if there is one."""

import logging
from dataclasses import replace

from interlock import connections, plane, sdk
from interlock.kernel import InterlockError, Retry
from interlock.runs.attempt import Ending
from interlock.runs.call import Call
from interlock.runs.wiring import Wiring

_log = logging.getLogger(__name__)

REFUSED = "rejected_by_provider"
"""Why a connection needs a person."""

_RENEWED = "The credential has been renewed meanwhile: ask again."


def is_refusal(call: Call, error: InterlockError) -> bool:
    """Whether the error is about the credential: the service refused it, or its lease ended because another one followed."""
    if call.resolved is None:
        return False
    return isinstance(error, sdk.AuthFailed) or _has_lost_its_lease(error)


async def renewed(wiring: Wiring, call: Call, ending: Ending) -> Call | None:
    """The call with another secret than the one that did not serve, and knowing both; None if there is none to be had. A refused
    one is reported: of all calls that were refused with it, one has it renewed. The error then says what is true of the
    connection."""
    old, error = call.resolved, ending.error
    assert old is not None
    assert error is not None
    try:
        if isinstance(error, sdk.AuthFailed):
            connection = await wiring.connections.report_rejected(call.caller, old, REFUSED)
            if ending.effect == "none":
                error.next_step = connections.next_step(connection)
        following = await wiring.connections.resolve(
            call.caller,
            connector_id=call.capability.connector_id,
            scopes=frozenset(call.operation.scopes),
            connection=old.connection.connection_id,
        )
        redactor = call.redactor.also(await wiring.connections.secrets_of(following, besides=call.profile.plain_fields))
    except InterlockError as failed:
        # The refusal is what the caller is told; this would hide it.
        _log.warning("%s: no other credential: %s", call.capability.capability_id, failed)
        return None
    if redactor == call.redactor:
        return None  # they are the same secrets
    if ending.effect == "none":
        error.next_step, error.retry = _RENEWED, Retry.LATER
    return replace(call, resolved=following, redactor=redactor)


def _has_lost_its_lease(error: InterlockError) -> bool:
    return isinstance(error, plane.EffectFailed) and error.details.get("failure_code") == connections.LeaseRevoked.code
