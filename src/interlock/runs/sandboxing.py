"""A sandbox that is demanded is one that is enforced: asked before anything is written, and again at every dispatch."""

from collections.abc import Collection
from dataclasses import replace

from interlock import plane, policy
from interlock.runs.call import Call
from interlock.runs.errors import SandboxNotEnforced
from interlock.runs.wiring import Wiring


def confined(call: Call, verdict: policy.Decision, wiring: Wiring) -> Call:
    """The call at the level that the verdict demands, if a target class that it accepts enforces that.

    Those that do not are passed over, each as a rung on record, since the node refuses them. Raises SandboxNotEnforced.
    """
    level = verdict.sandbox
    if not plane.SANDBOX_LEVELS[level]:
        return call
    if call.operation.handler is not None:
        raise SandboxNotEnforced(call.capability.capability_id, level, handler=True)
    needed = plane.sandboxed(level).properties
    lacking = {name: _lacking(needed, wiring, name) for name in call.request.targets}
    if all(lacking.values()):
        raise SandboxNotEnforced(call.capability.capability_id, level, lacking=lacking)
    return replace(call, sandbox=level)


def _lacking(needed: Collection[str], wiring: Wiring, target_class: str) -> list[str]:
    """What the best of the node's targets of that class was not shown to have. One that is probed when it is needed is taken
    for what its class stands for: at the dispatch it has been probed."""
    targets = wiring.node.describe().targets
    shown = [each.attestation.properties for each in targets if each.attestation.target_class == target_class]
    if not shown and target_class in wiring.node.target_classes | wiring.offered.classes:
        shown = [tuple(plane.CLASSES.get(target_class, ()))]
    found = [sorted(frozenset(needed) - frozenset(each)) for each in shown]
    return min(found, key=len, default=sorted(needed))
