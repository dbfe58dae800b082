"""Places that are somewhere else: from an operator's settings to a target with its lane."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from interlock import plane
from interlock.app.given import AUDIENCE, Given
from interlock.app.settings import PlaceSettings, Settings
from interlock.kernel import Clock, ConfigurationError, IdSource

if TYPE_CHECKING:
    from interlock.adapters import lanes, targets

_SESSION: Final = timedelta(hours=12)


class UnknownPlace(ConfigurationError):
    """A command is to run somewhere that the settings do not know."""

    code = "unknown_place"
    next_step = "Add it to `[[execution.places]]` of the settings, with what proves it; see docs/plane-places.md."


@dataclass(frozen=True, slots=True)
class Placed:
    """A place of the settings, and the folder where its relative paths start."""

    settings: PlaceSettings
    folder: Path

    @property
    def target_class(self) -> str:
        """What it proves when it is reached."""
        return plane.SSH_PINNED if self.settings.url.startswith("ssh:") else plane.GUEST_BRIDGE


def list_placed(settings: Settings) -> list[Placed]:
    """All places of the settings."""
    return [Placed(place, settings.folder) for place in settings.execution.places]


def find_placed(settings: Settings, url: str) -> Placed:
    """The place of that URL. Raises UnknownPlace."""
    for placed in list_placed(settings):
        if placed.settings.url == url:
            return placed
    raise UnknownPlace(f"the settings list no place {url[:200]!r}")


def make_placed(
    placed: Placed, *, given: Given, clock: Clock, ids: IdSource
) -> "tuple[targets.PlacedTarget, lanes.PlacedLane]":
    """A target and its lane. Commands there get the credentials that are given, and no others."""
    from interlock.adapters import lanes, targets

    place, url = _place(placed), placed.settings.url
    lane = lanes.PlacedLane(place, credentials=given, attachment=_attachment(url, given, clock, ids), lane_id=url)
    return targets.PlacedTarget(url, target_class=place.target_class, lane=lane, clock=clock), lane


def _place(placed: Placed) -> "lanes.Place":
    from interlock.adapters import lanes

    place, folder = placed.settings, placed.folder
    url = plane.parse_place(place.url)
    # Who lists a place means its host, wherever that is; what proves it is the pin.
    addresses = plane.AddressPolicy(allow=() if url.path else (url.target.host_port,))
    if url.scheme != "ssh":
        assert place.token is not None
        return lanes.GuestPlace(url, addresses=addresses, token=folder / place.token)
    assert place.identity is not None
    return lanes.SshPlace(
        url,
        addresses=addresses,
        identity=folder / place.identity,
        host_keys=place.host_keys,
        known_hosts=None if place.known_hosts is None else folder / place.known_hosts,
    )


def _attachment(target_id: str, given: Given, clock: Clock, ids: IdSource) -> plane.Attachment:
    """For whoever opens the plane by itself, and so holds all of its authority: the posture is their own decision."""
    handles = tuple(secret.handle for secret in given.variables)
    posture = plane.TargetPosture(target_id=target_id, kind=plane.PostureKind.NO_CREDENTIAL)
    if handles:
        posture = plane.TargetPosture(
            target_id=target_id,
            kind=plane.PostureKind.INJECT_ENV,
            audiences=(AUDIENCE,),
            handle_kinds=("env",),
            max_handles=len(handles),
        )
    ends = clock.now() + _SESSION
    session = plane.BoundarySessionDescriptor(
        session_id=ids.new("bnd"),
        tenant_id="default",
        decision_digest=posture.digest,
        state=plane.SessionState.ATTACHED,
        workspace=target_id,
        expires_at=ends,
    )
    grant = plane.AttachGrant(
        grant_id=ids.new("grt"),
        tenant_id=session.tenant_id,
        session_id=session.session_id,
        target_id=target_id,
        posture_digest=posture.digest,
        workspace=session.workspace,
        handles=handles,
        expires_at=ends,
    )
    return plane.Attachment(posture=posture, grant=grant, session=session)
