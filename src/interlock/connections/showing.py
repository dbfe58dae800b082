"""How a request shows a profile's credential, in the plane's words."""

from interlock import plane, sdk


def shown(profile: sdk.AuthProfile, handle: str) -> tuple[plane.CredentialRef, ...]:
    """What the lane is to redeem under the handle; nothing for a profile without a credential."""
    return tuple(_shown(each, handle) for each in profile.apply)


def _shown(place: sdk.Placement, handle: str) -> plane.CredentialRef:
    match place:
        case sdk.HeaderPlace():
            return plane.HeaderCredential(handle=handle, name=place.name, template=place.template)
        case sdk.QueryPlace():
            return plane.QueryCredential(handle=handle, name=place.name, template=place.template)
        case sdk.CertificatePlace():
            return plane.ClientCertificate(handle=handle, chain=place.chain_field, key=place.key_field)
