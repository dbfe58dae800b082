"""What can be wrong with a route, a trigger or a delivery that somebody asks for."""

from collections.abc import Iterable

from interlock.kernel import ConflictError, NotFoundError, RequestError, Retry


class InvalidRoute(RequestError):
    """What should become a route is incomplete, or contradicts itself. `details.problems` lists all of it."""

    code = "invalid_route"
    next_step = "`interlock connectors show CONNECTOR` shows its triggers, and how their deliveries are proven."

    def __init__(self, connector_id: str, problems: Iterable[str]) -> None:
        found = list(problems)
        super().__init__(f"no route for {connector_id!r}: {'; '.join(found)}", details={"problems": found})


class AmbiguousRoute(ConflictError):
    """Two routes would claim the same deliveries."""

    code = "ambiguous_route"
    next_step = "Look at `interlock routes list`: revoke the other route, or give this one another resolution."


class RouteNotFound(NotFoundError):
    """No such route in this tenant."""

    code = "route_not_found"
    next_step = "`interlock routes list` shows the routes of this tenant."


class RouteChanged(ConflictError):
    """Others kept changing the route at the same time. Nothing was written."""

    code = "route_changed"
    retry = Retry.LATER
    next_step = "Look at it with `interlock routes list` and try again."


class TriggerNotFound(NotFoundError):
    """No such trigger in this tenant."""

    code = "trigger_not_found"
    next_step = "`interlock triggers list` shows the triggers of this tenant."


class DeliveryNotFound(NotFoundError):
    """No such delivery in this tenant."""

    code = "delivery_not_found"
    next_step = "`interlock deliveries list` shows the deliveries of this tenant."


class NotReplayable(RequestError):
    """The delivery's body is not kept, or its origin was never proven."""

    code = "delivery_not_replayable"
    next_step = "Have the service deliver it again."
