"""The machine of an install's states. Pure.

    installing ──> awaiting_callback ──> exchanging ──> proven ──> completed
        │    (browser, device)  ^            │ ^
        │                       └────────────┘ │  (device: not yet)
        └──────────────────────────────────────┘  (automatic)

    each of the first four ──> expired | cancelled | failed

What has ended stays as it is. A callback is taken once: the step to `exchanging` is committed before the code is sent, by
compare-and-set, and nothing leads back to it but a device that is not ready. A process that dies there leaves an install that
expires as `interrupted`.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from interlock.connections import install_errors
from interlock.connections.installs import Flow, Found, Install, InstallState, Reason
from interlock.connections.model import Sealed

_OVER: Final = frozenset({InstallState.EXPIRED, InstallState.CANCELLED, InstallState.FAILED})

ALLOWED: Final[Mapping[InstallState, frozenset[InstallState]]] = {
    InstallState.INSTALLING: frozenset({InstallState.AWAITING_CALLBACK, InstallState.EXCHANGING}) | _OVER,
    InstallState.AWAITING_CALLBACK: frozenset({InstallState.EXCHANGING}) | _OVER,
    InstallState.EXCHANGING: frozenset({InstallState.AWAITING_CALLBACK, InstallState.PROVEN}) | _OVER,
    InstallState.PROVEN: frozenset({InstallState.COMPLETED}) | _OVER,
    InstallState.COMPLETED: frozenset(),
    InstallState.EXPIRED: frozenset(),
    InstallState.CANCELLED: frozenset(),
    InstallState.FAILED: frozenset(),
}

OPEN: Final = frozenset(state for state, after in ALLOWED.items() if after)
"""The states that end by themselves when the time is over."""


def check_open(install: Install, *, now: datetime) -> None:
    """Raises InstallEnded if the install has ended or its time is over."""
    if install.state not in OPEN:
        because = f" ({install.reason.value})" if install.reason else ""
        raise install_errors.InstallEnded(f"install {install.install_id} is {install.state.value}{because}")
    if install.expires_at <= now:
        raise install_errors.InstallEnded(f"install {install.install_id} has expired")


def check_unbegun(install: Install) -> None:
    """Raises InstallUsed if the service's pages were begun already, somewhere."""
    if install.flow is Flow.AUTOMATIC or install.state is not InstallState.INSTALLING:
        raise install_errors.InstallUsed(f"install {install.install_id} was begun already")


def await_callback(
    install: Install,
    *,
    state_digest: str | None,
    browser_digest: str | None,
    redirect_uri: str | None,
    issuer: str | None,
    sealed: Sealed,
    at: datetime,
) -> Install:
    """Somebody begins at the service: in this browser, with this state, to come back to this address. Or, without them, on a
    second device. Raises InstallEnded, InstallUsed."""
    check_open(install, now=at)
    check_unbegun(install)
    return replace(
        _move(install, InstallState.AWAITING_CALLBACK, at=at),
        state_digest=state_digest,
        browser_digest=browser_digest,
        redirect_uri=redirect_uri,
        issuer=issuer,
        sealed=sealed,
    )


def check_callback(install: Install, *, browser_digest: str | None, redirect_uri: str, now: datetime) -> None:
    """Whether this is the callback that the install awaits: in the browser that began it, at the very address.

    Raises InstallEnded, InstallUsed, CallbackRefused; then the install is as it was, for a stranger must not be able to end it.
    """
    check_open(install, now=now)
    if install.state is not InstallState.AWAITING_CALLBACK:
        raise install_errors.InstallUsed(f"install {install.install_id} has had its callback")
    if install.browser_digest is None or browser_digest != install.browser_digest:
        raise install_errors.CallbackRefused("this browser did not begin the install that the callback belongs to")
    if redirect_uri != install.redirect_uri:
        raise install_errors.CallbackRefused("the callback came to another address than the one that was asked for")


def begin_exchange(install: Install, *, at: datetime) -> Install:
    """The one who may send the code now. Raises InstallEnded, InstallUsed."""
    check_open(install, now=at)
    expected = InstallState.INSTALLING if install.flow is Flow.AUTOMATIC else InstallState.AWAITING_CALLBACK
    if install.state is not expected:
        raise install_errors.InstallUsed(f"install {install.install_id} has had its callback")
    return _move(install, InstallState.EXCHANGING, at=at)


def wait_longer(install: Install, *, at: datetime) -> Install:
    """The person at the device is not ready yet. Raises InstallEnded, InstallUsed."""
    check_open(install, now=at)
    if install.flow is not Flow.DEVICE or install.state is not InstallState.EXCHANGING:
        raise install_errors.InstallUsed(f"install {install.install_id} waits for no device")
    return _move(install, InstallState.AWAITING_CALLBACK, at=at)


def prove(install: Install, found: Found, sealed: Sealed, *, at: datetime) -> Install:
    """The service accepted the new credential and said whose it is. Raises InstallEnded, InstallUsed."""
    check_open(install, now=at)
    if install.state is not InstallState.EXCHANGING:
        raise install_errors.InstallUsed(f"install {install.install_id} has no exchange under way")
    return replace(_move(install, InstallState.PROVEN, at=at), found=found, sealed=sealed)


def complete(install: Install, connection_id: str, *, at: datetime) -> Install:
    """The connection has the new credential. Raises InstallEnded, InstallUsed."""
    check_open(install, now=at)
    if install.state is not InstallState.PROVEN:
        raise install_errors.InstallUsed(f"install {install.install_id} has no proven credential")
    return replace(_move(install, InstallState.COMPLETED, at=at), connection_id=connection_id, sealed=None)


def fail(install: Install, reason: Reason, *, at: datetime) -> Install:
    """It came to nothing. An install that has ended stays as it is."""
    return _end(install, InstallState.FAILED, reason, at=at)


def cancel(install: Install, *, at: datetime) -> Install:
    """Somebody thought better of it. An install that has ended stays as it is."""
    return _end(install, InstallState.CANCELLED, Reason.CANCELLED, at=at)


def expire(install: Install, *, at: datetime) -> Install:
    """The install as it stands when its time is over; before that, and once it has ended, as it is."""
    if install.expires_at > at:
        return install
    # Nobody came back from this exchange: the service may have given a credential that nobody has.
    interrupted = install.state is InstallState.EXCHANGING and install.flow is not Flow.DEVICE
    return _end(install, InstallState.EXPIRED, Reason.INTERRUPTED if interrupted else Reason.TIME_OVER, at=at)


def _end(install: Install, state: InstallState, reason: Reason, *, at: datetime) -> Install:
    if install.state not in OPEN:
        return install
    return replace(_move(install, state, at=at), reason=reason, sealed=None)


def _move(install: Install, to: InstallState, *, at: datetime) -> Install:
    assert to in ALLOWED[install.state]
    return replace(install, state=to, revision=install.revision + 1, updated_at=at)
