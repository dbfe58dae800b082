"""Classes of targets: each name stands for properties that a probe showed from inside, and for nothing more."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final


class Property(StrEnum):
    """Something that a probe inside of a target tried, and found to be so."""

    ENVIRONMENT_LISTED = "environment-listed"
    """Only the listed variables are there, and where hosts are listed, those that name the proxy."""
    DESCRIPTORS_CLOSED = "descriptors-closed"
    """Only the three standard streams are open."""
    WRITES_CONFINED = "writes-confined"
    """Nothing outside of the listed paths can be written, made or removed, nor its mode, owner, times or attributes changed,
    and no setting of the kernel."""
    READS_CONFINED = "reads-confined"
    """Nothing outside of the listed paths can be read, or watched. That it is there may be seen."""
    NETWORK_NONE = "network-none"
    """Neither the host's loopback, nor its other addresses, nor its abstract sockets, nor those at files can be reached."""
    NETWORK_HOSTS = "network-hosts"
    """Where hosts are listed, those are reached through the sandbox's own proxy, and nothing else at all."""
    PROCESSES_HIDDEN = "processes-hidden"
    """The host's processes cannot be seen."""
    PROCESSES_UNTOUCHABLE = "processes-untouchable"
    """The host's processes cannot be sent signals, nor their limits, priorities or processors changed, nor is memory shared
    with them."""
    PRIVILEGES_FIXED = "privileges-fixed"
    """No program can gain privileges (no_new_privs), set-user-id or not."""
    CAPABILITIES_NONE = "capabilities-none"
    """There are no capabilities, neither in use nor to be gained, that count outside."""
    PROCESSES_BOUNDED = "processes-bounded"
    """It cannot start more processes than it was granted."""
    MEMORY_BOUNDED = "memory-bounded"
    """All of it together cannot use more memory than it was granted."""
    KERNEL_APART = "kernel-apart"
    """It does not talk to the host's own kernel."""
    PEER_PROVED = "peer-proved"
    """Whoever answers there has proved to hold what was pinned for it: a host's key, or the token of a guest. Of what it does
    with a command, it says nothing."""


LOCAL_PROCESS: Final = "local-process"
LOCAL_LANDLOCK: Final = "local-landlock"
LOCAL_BUBBLEWRAP: Final = "local-bubblewrap"
CONTAINER_RUNC: Final = "container-runc"
CONTAINER_GVISOR: Final = "container-gvisor"

SSH_PINNED: Final = "ssh-pinned"
GUEST_BRIDGE: Final = "guest-bridge"

UNPROVEN: Final = "unproven"
"""The class of a target of which nothing was shown. It takes no work."""

_OWN: Final = frozenset({Property.ENVIRONMENT_LISTED, Property.DESCRIPTORS_CLOSED})
_RESTRICTED: Final = _OWN | {
    Property.WRITES_CONFINED,
    Property.READS_CONFINED,
    Property.NETWORK_NONE,
    Property.PROCESSES_UNTOUCHABLE,
    Property.PRIVILEGES_FIXED,
    Property.CAPABILITIES_NONE,
}
_CONFINED: Final = _RESTRICTED | {Property.PROCESSES_HIDDEN}

CLASSES: Final[Mapping[str, frozenset[Property]]] = {
    LOCAL_PROCESS: _OWN,
    LOCAL_LANDLOCK: _RESTRICTED,  # a path that cannot be read can still be seen to exist, and so can processes
    LOCAL_BUBBLEWRAP: _CONFINED,
    CONTAINER_RUNC: _CONFINED | {Property.PROCESSES_BOUNDED, Property.MEMORY_BOUNDED},
    CONTAINER_GVISOR: _CONFINED | {Property.KERNEL_APART},
    SSH_PINNED: frozenset({Property.PEER_PROVED}),
    GUEST_BRIDGE: frozenset({Property.PEER_PROVED}),
}
"""What must have been shown of a target before it bears the name."""

PLACED: Final = frozenset({SSH_PINNED, GUEST_BRIDGE})
"""The classes of places that are somewhere else, and there only where an operator has set them up."""


SANDBOX_LEVELS: Final[Mapping[str, frozenset[Property]]] = {
    "none": frozenset(),
    "standard": _RESTRICTED,
    "strict": _CONFINED,
}
"""What a level of sandbox asks of the target where a call is carried out, weakest first. A target enforces a level if all of
this was shown of it; `local-http` is this very process, of which nothing of the kind can be shown."""


def enforcing(level: str) -> tuple[str, ...]:
    """The classes in the table that stand for all that the level asks."""
    return tuple(name for name, properties in CLASSES.items() if properties >= SANDBOX_LEVELS[level])


def unproved(target_class: str, properties: Iterable[str]) -> tuple[str, ...]:
    """What the class stands for and was not shown. Classes that are not in the table stand for nothing by themselves."""
    return tuple(sorted(CLASSES.get(target_class, frozenset()) - frozenset(properties)))
