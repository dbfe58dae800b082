"""Operations that are a command or a script: their intents, and what their receipts come to."""

from typing import Any

from interlock import connections, plane, sdk
from interlock.kernel import JSON
from interlock.runs.call import Call
from interlock.runs.model import Purpose
from interlock.runs.scripts import Actions
from interlock.runs.sender import Sender
from interlock.runs.sending import Draft

_LIMITS = ("total_memory_bytes", "processes", "memory_bytes", "cpu_seconds", "files", "file_bytes")


async def carry(actions: Actions, call: Call, sender: Sender, facts: sdk.Facts) -> JSON:
    """Have it carried out, and return the operation's output. Raises plane.EffectFailed, ActionHeld, and leaves of
    sdk.OperationFailed."""
    command = call.operation.command
    if command is not None:
        return await _command(call, command, sender, facts)
    assert call.operation.script is not None
    with actions.of(call, sender.run_id):
        return await _script(actions, call, call.operation.script, sender, facts)


async def _command(call: Call, spoken: sdk.CommandOperation, sender: Sender, facts: sdk.Facts) -> JSON:
    made = sdk.build_command(call.operation, spoken, call.value)

    def draw(identity: dict[str, Any]) -> plane.Intent:
        return plane.ProcessIntent(
            **identity,
            argv=made.argv,
            env=made.env,
            cwd=spoken.cwd,
            secrets=_secrets(call, spoken, sender.lease),
            stdin=made.stdin,
            max_ms=int(call.operation.timeout_seconds * 1000),
            max_output_bytes=call.operation.max_response_bytes,
            sandbox=_profile(spoken.confinement),
        )

    def read(receipt: plane.Receipt) -> JSON | plane.Failure:
        failure = receipt.failure
        if failure is None:
            return sdk.command_output(call.operation, spoken, receipt.body, call.value, facts)
        exit_code = receipt.facts.get("exit_code")
        if failure.failure_class is plane.FailureClass.EXIT_NONZERO and isinstance(exit_code, int):
            refused = sdk.command_refusal(call.operation, spoken, exit_code)
            if refused is not None:
                raise refused
        return failure

    return await sender.carry(Draft(draw=draw, writes=_writes(call), purpose=Purpose.EFFECT), read)


async def _script(actions: Actions, call: Call, written: sdk.ScriptOperation, sender: Sender, facts: sdk.Facts) -> JSON:
    def draw(identity: dict[str, Any]) -> plane.Intent:
        return plane.ScriptIntent(
            **identity,
            source=written.source,
            input=sdk.script_input(call.operation, call.value),
            actions=tuple(plane.ScriptAction(name=name) for name in sorted(written.actions)),
            limits=plane.ScriptLimits(
                wall_ms=int(call.operation.timeout_seconds * 1000),
                run_ms=written.run_ms,
                memory_bytes=written.memory_bytes,
                output_bytes=written.output_bytes,
                max_actions=written.max_actions,
            ),
            # The same in every attempt: what was asked for before is then asked for again, and answered as before.
            moment=sender.begun_at,
            seed=sender.run_id,
        )

    def read(receipt: plane.Receipt) -> JSON | plane.Failure:
        if receipt.failure is None:
            return sdk.script_output(call.operation, receipt.body, call.value, facts)
        if receipt.failure.failure_class is plane.FailureClass.SCRIPT_HELD:
            raise actions.held(sender.run_id)
        return receipt.failure

    return await sender.carry(Draft(draw=draw, writes=_writes(call), purpose=Purpose.EFFECT), read)


def _writes(call: Call) -> bool:
    return call.operation.effect is not sdk.Effect.READ


def _secrets(
    call: Call, spoken: sdk.CommandOperation, lease: connections.Lease | None
) -> tuple[plane.ProcessSecret, ...]:
    if lease is None:
        return ()
    return tuple(
        plane.ProcessSecret(handle=lease.lease_id, field=secret.field, host=call.host, env=secret.env, fd=secret.fd)
        for secret in spoken.secrets
    )


def _profile(confinement: sdk.Confinement | None) -> plane.SandboxProfile | None:
    if confinement is None:
        return None
    limits = plane.ResourceLimits(**{name: getattr(confinement, name) for name in _LIMITS})
    return plane.SandboxProfile(
        read=confinement.read,
        write=confinement.write,
        network=plane.Network(confinement.network),
        hosts=confinement.hosts,
        limits=limits,
    )
