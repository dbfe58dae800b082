"""One script from its first step to its end: what it asks for, what it is given, what it comes to."""

import math
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from interlock import plane
from interlock.adapters.lanes.script.checks import Misfit, Schemas, as_json
from interlock.adapters.lanes.script.worker import Worker
from interlock.kernel import InterlockError, digest_bytes

if TYPE_CHECKING:
    import pydantic_monty as monty

MAX_ARGUMENT_BYTES: Final = 1_048_576
"""The arguments of one action, in canonical JSON."""

_TRACE_CHARACTERS: Final = 8_192

_LIMITS: Final = {
    "TimeoutError": ("feed time limit exceeded", "run_ms"),
    "MemoryError": ("", "memory_bytes"),
    "RecursionError": ("maximum recursion depth exceeded", "recursion"),
    "RuntimeError": ("suspension limit", "max_actions"),
}
"""How the interpreter says that a limit was met. A program that says the same is only wrong about itself."""

_UNSUPPORTED: Final = "The monty syntax parser"


class ScriptRun:
    """Drives one program. Only its actions reach anything outside: a script that asked for none is proven to have done
    nothing, however it ended."""

    def __init__(self, intent: plane.ScriptIntent, exchange: plane.Exchange, host: plane.ActionHost) -> None:
        """Raises LaneFailure (`script_invalid`) for a declaration that cannot be used."""
        self._intent = intent
        self._exchange = exchange
        self._host = host
        self._declared = {action.name: action for action in intent.actions}
        self._schemas = Schemas(intent.actions)
        self._calls: Counter[str] = Counter()
        self._asked: list[str] = []
        self._refused: list[str] = []
        self._denials: set[str] = set()
        self._failed: list[tuple[str, str, str]] = []
        self._output: list[tuple[str, bytes]] = []
        self._output_bytes = 0
        self._flooded = False
        self._seconds = 0.0

    def facts(self) -> dict[str, plane.Fact]:
        """What it asked for and what it took. Times in milliseconds, sizes in bytes."""
        return {
            "script_digest": self._intent.source_digest,
            "actions_asked": self._asked,
            "actions_refused": self._refused,
            "actions_failed": [f"{name}: {code}" for name, code, _ in self._failed],
            "run_ms": math.ceil(self._seconds * 1000),
            "output_bytes": self._output_bytes,
        }

    async def drive(self, worker: Worker) -> None:
        """Run it to its end. Raises LaneFailure."""
        import pydantic_monty as monty

        source, given = self._intent.source, {"input": self._intent.input}

        def printed(stream: str, text: str) -> None:
            if not self._take(stream, text):
                worker.kill()

        def begin() -> "monty.SyncSnapshot":
            return worker.session.feed_start(source, inputs=given, print_callback=printed)

        try:
            snapshot = await self._step(worker, begin)
            while not isinstance(snapshot, monty.MontyComplete):
                if isinstance(snapshot, monty.FunctionSnapshot):
                    answer = await self._perform(snapshot)
                    snapshot = await self._step(worker, partial(snapshot.resume, answer))
                elif isinstance(snapshot, monty.NameLookupSnapshot):
                    snapshot = await self._step(worker, partial(self._look_up, snapshot))
                else:
                    raise self._failure(plane.FailureClass.SCRIPT_FAILED, "it waits for nothing", code="deadlock")
            self._finish(snapshot.output)
        except monty.MontyError as error:
            failure = self._told(monty, error)
            await self._say()
            raise failure from error

    # -- the actions

    async def _perform(self, snapshot: "monty.FunctionSnapshot") -> "monty.ExternalSettledResult":
        """One action: the host's answer, or what the script is told instead."""
        name = snapshot.function_name[:100]
        if len(self._asked) >= self._intent.limits.max_actions:
            raise self._limit("max_actions")
        self._asked.append(name)
        action = self._declared.get(name)
        if snapshot.is_os_function or snapshot.object_id is not None:
            return self._refuse(name, f"{name} is not for scripts: they have no files, no time and no environment")
        if action is None:
            return self._refuse(name, f"the action {name} is not declared")
        if self._calls[name] >= action.max_calls:
            return self._refuse(name, f"the action {name} may be asked for {action.max_calls} times")
        self._calls[name] += 1
        if snapshot.args:
            return _raised("TypeError", f"the arguments of {name} are given by name")
        arguments = snapshot.kwargs
        try:
            text = as_json(arguments, what=f"arguments of {name}", max_bytes=MAX_ARGUMENT_BYTES)
            self._schemas.check_arguments(name, arguments)
        except Misfit as error:
            return _raised("ValueError", str(error))
        seq = len(self._asked)
        self._exchange.note("action", {"seq": seq, "action": name, "arguments_digest": digest_bytes(text)})
        self._exchange.leave(len(text))
        try:
            answer = await self._host.perform(name, arguments, plane.ScriptExecution(self._intent, seq))
        except InterlockError as error:
            self._exchange.note("action_failed", {"seq": seq, "action": name, "code": error.code})
            told = f"{error.code}: {error.message}"
            self._failed.append((name, error.code, told))
            return _raised("RuntimeError", told)
        if isinstance(answer, plane.Denied):
            self._exchange.bytes_sent -= len(text)  # the host's word that nothing was done
            return self._refuse(name, answer.reason, code=answer.code)
        if isinstance(answer, plane.Held):
            if answer.nothing_done:
                self._exchange.bytes_sent -= len(text)
            self._exchange.note("action_held", {"seq": seq, "action": name})
            raise self._failure(plane.FailureClass.SCRIPT_HELD, answer.reason)
        try:
            self._schemas.check_answer(name, answer)
        except Misfit as error:
            raise self._failure(plane.FailureClass.SCRIPT_FAILED, str(error), code="answer_unfit") from error
        return {"return_value": answer}

    def _refuse(self, name: str, reason: str, *, code: str = "not_declared") -> "monty.ExternalSettledResult":
        self._refused.append(name)
        self._exchange.note("action_refused", {"seq": len(self._asked), "action": name, "code": code})
        self._denials.add(reason)
        return _raised("PermissionError", reason)

    def _look_up(self, snapshot: "monty.NameLookupSnapshot") -> "monty.SyncSnapshot":
        """A name that the program did not define: an action may be passed on like any function."""
        name = snapshot.variable_name
        if name not in self._declared or snapshot.object_id is not None:
            return snapshot.resume()

        def action() -> None: ...

        action.__name__ = name
        return snapshot.resume(value=action)

    # -- its own time and its output

    async def _step(self, worker: Worker, go: "Callable[[], monty.SyncSnapshot]") -> "monty.SyncSnapshot":
        """Let it run until it wants something."""
        started = self._exchange.clock.monotonic()
        try:
            snapshot = await worker.call(go)
        finally:
            self._seconds += self._exchange.clock.monotonic() - started
        if self._flooded:
            raise self._limit("output_bytes")
        await self._say()
        return snapshot

    def _take(self, stream: str, text: str) -> bool:
        """Keep what it prints, on whatever thread. Whether there was room."""
        data = text.encode(errors="replace")
        room = self._intent.limits.output_bytes - self._output_bytes
        if len(data) > room:
            self._flooded = True
            data = data[:room]
        self._output.append((stream, data))
        self._output_bytes += len(data)
        return not self._flooded

    async def _say(self) -> None:
        said, self._output = self._output, []
        if self._exchange.channel is not None:
            for stream, data in said:
                await self._exchange.channel.output(stream, data)

    # -- its end

    def _finish(self, result: Any) -> None:
        try:
            text = as_json(result, what="result", max_bytes=self._intent.limits.output_bytes)
        except Misfit as error:
            raise self._failure(plane.FailureClass.SCRIPT_FAILED, str(error), code="result_unfit") from error
        if not self._exchange.bytes_sent:
            self._exchange.bytes_sent = self._intent.source_size or 1  # there is an answer, so something was asked
        self._exchange.body = text
        self._exchange.facts["result_digest"] = digest_bytes(text)
        self._exchange.answered = True

    def _told(self, monty: Any, error: "monty.MontyError") -> plane.LaneFailure:
        """The failure behind what the interpreter says. The program's own words may hold what it was given, so they go to
        its output and not into the receipt."""
        if self._flooded:
            return self._limit("output_bytes")
        if isinstance(error, monty.MontyCrashedError):
            if self._seconds * 1000 >= self._intent.limits.run_ms:
                return self._limit("run_ms")
            return self._failure(plane.FailureClass.SCRIPT_FAILED, "its interpreter died", code="interpreter_died")
        inner = error.exception()
        name, text = type(inner).__name__, str(inner)
        lines = [frame.line for frame in cast("Any", error).traceback()] if hasattr(error, "traceback") else []
        where = f" in line {lines[-1]}" if lines else ""
        self._output.append(("stderr", str(error)[:_TRACE_CHARACTERS].encode(errors="replace")))
        if isinstance(error, monty.MontySyntaxError) or text.startswith(_UNSUPPORTED):
            return self._failure(plane.FailureClass.SCRIPT_INVALID, f"it is not a program that can be run{where}")
        prefix, limit = _LIMITS.get(name, ("", ""))
        if limit and text.startswith(prefix):
            return self._limit(limit)
        if name == "PermissionError" and text in self._denials:
            return self._failure(plane.FailureClass.SCRIPT_DENIED, f"it needs what it was refused{where}")
        for action, code, told in reversed(self._failed):
            if name == "RuntimeError" and text == told:
                return self._failure(plane.FailureClass.SCRIPT_FAILED, f"the action {action} failed ({code}){where}")
        return self._failure(plane.FailureClass.SCRIPT_FAILED, f"{name}{where}")

    def _limit(self, limit: str) -> plane.LaneFailure:
        self._exchange.facts["limit"] = limit
        most = getattr(self._intent.limits, limit)
        return self._failure(plane.FailureClass.SCRIPT_LIMIT, f"it went past its {limit}, {most}", code=limit)

    def _failure(self, class_: plane.FailureClass, why: str, *, code: str | None = None) -> plane.LaneFailure:
        # Its actions are over, and it will ask for no other: what happened is known to its end.
        self._exchange.answered = self._exchange.bytes_sent > 0
        return plane.LaneFailure(class_, f"the script ended: {why}", code=code)


def _raised(name: Any, message: str) -> "monty.ExternalSettledResult":
    return {"exc_type": name, "message": message}
