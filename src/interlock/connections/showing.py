"""How a request shows a profile's credential, in the plane's words."""

from interlock import plane, sdk
from interlock.connections.errors import PlacementUnsupported


def shown(profile: sdk.AuthProfile, handle: str) -> plane.CredentialRef | None:
    """What the lane is to redeem under the handle; None for a profile without a credential. Raises PlacementUnsupported."""
    if not profile.apply:
        return None
    first, *others = profile.apply
    if others or not isinstance(first, sdk.HeaderPlace):
        places = ", ".join(each.place for each in profile.apply)
        raise PlacementUnsupported(f"the credential of profile {profile.profile_id!r} is shown by: {places}")
    return plane.CredentialRef(handle=handle, header=first.name, template=first.template)
