"""Simulation: a scenario answers in a lane's place, through the same contract, and the evidence says that it did.

There is nothing in here that could reach anything: no socket, no process, no file, and no other lane to fall back on.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final, cast

from interlock.kernel import read_json
from interlock.plane.failures import FailureClass
from interlock.plane.intent import Intent
from interlock.plane.lane import Exchange, LaneFailure
from interlock.plane.receipt import Delivery
from interlock.plane.scenario import (
    Scenario,
    ScenarioAnswer,
    ScenarioFailure,
    ScenarioMatcher,
    ScenarioRule,
    kinds,
    parse_scenario,
)

SIMULATED: Final = "simulated"
"""The lane's name, and the fact by which its receipts are known: there it is the scenario's digest."""

_NOTHING: Final = object()


def simulate(scenario: Scenario | str | bytes) -> "SimulatedLane":
    """The lane that a scenario, or the text of one, is played on. Raises InvalidScenario."""
    return SimulatedLane(scenario if isinstance(scenario, Scenario) else parse_scenario(scenario))


class SimulatedLane:
    """Carries every kind of intent that the scenario answers."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self._used: Counter[int] = Counter()

    @property
    def lane_id(self) -> str:
        return SIMULATED

    @property
    def carries(self) -> type[Intent]:
        return Intent

    async def execute(self, intent: Intent, exchange: Exchange) -> None:
        exchange.facts[SIMULATED] = self.scenario.digest
        number, rule = self._pick(intent)
        exchange.note(
            SIMULATED, {"scenario": self.scenario.name, "scenario_digest": self.scenario.digest, "rule": number}
        )
        await exchange.clock.sleep(rule.delay_ms / 1000)
        answer, failure = rule.answer, rule.answer.failure
        delivery = Delivery.RESPONDED if failure is None else _delivery(failure, answer)
        if delivery is not Delivery.NOT_SENT:
            exchange.leave(_beside_size(intent) or 1)
            exchange.status = answer.status
            exchange.headers = tuple((name.lower(), value) for name, value in answer.headers.items())
            exchange.facts |= answer.facts
            await _say(intent, answer, exchange)
        exchange.answered = delivery is Delivery.RESPONDED
        if failure is not None:
            raise LaneFailure(failure.failure_class, failure.message, code=failure.code)

    async def aclose(self) -> None:
        """Nothing to close."""

    def _pick(self, intent: Intent) -> tuple[int, ScenarioRule]:
        for number, rule in enumerate(self.scenario.rules, start=1):
            if (rule.times is None or self._used[number] < rule.times) and _matches(rule.when, intent):
                self._used[number] += 1
                return number, rule
        message = f"no rule of the scenario {self.scenario.name} answers this {type(intent).__name__}"
        raise LaneFailure(FailureClass.SCENARIO_UNMATCHED, message)


async def _say(intent: Intent, answer: ScenarioAnswer, exchange: Exchange) -> None:
    channel = exchange.channel
    for said in answer.output:
        if said.after_input and channel is not None:
            await channel.inbox.receive()
        await exchange.clock.sleep(said.delay_ms / 1000)
        if channel is not None:
            await channel.output(said.stream, said.data, said.facts)
    if channel is not None and intent.collected is not None:
        if answer.data:
            await channel.output(intent.collected[0], answer.data)
    else:
        exchange.body = answer.data


def _delivery(failure: ScenarioFailure, answer: ScenarioAnswer) -> Delivery:
    if failure.delivery is not None:
        return failure.delivery
    effect = LaneFailure(failure.failure_class, "").failure.effect
    if effect == "none":
        return Delivery.NOT_SENT
    return Delivery.RESPONDED if effect == "depends" and (answer.status or answer.facts) else Delivery.UNKNOWN


def _matches(matcher: ScenarioMatcher, intent: Intent) -> bool:
    if not isinstance(intent, kinds()[matcher.kind]):
        return False
    record = intent.record()
    if not all(_fits(pattern, _at(record, name.split("."))) for name, pattern in matcher.fields.items()):
        return False
    if not matcher.body:
        return True
    body = _beside(intent)
    return all(_fits(pattern, _at(body, _steps(pointer))) for pointer, pattern in matcher.body.items())


def _fits(pattern: object, value: object) -> bool:
    if isinstance(pattern, str) and isinstance(value, str):
        return _fits_text(pattern, value)
    if isinstance(pattern, dict) and isinstance(value, Mapping):
        members = cast("Mapping[str, object]", value)
        return all(
            _fits(each, members.get(name, _NOTHING)) for name, each in cast("dict[str, object]", pattern).items()
        )
    if isinstance(pattern, list) and isinstance(value, list | tuple):
        wanted, given = cast("list[object]", pattern), list(cast("list[object]", value))
        if wanted and wanted[-1] == "**":
            wanted = wanted[:-1]
            given = given[: len(wanted)]
        return len(wanted) == len(given) and all(map(_fits, wanted, given))
    return pattern == value and isinstance(pattern, bool) is isinstance(value, bool)


def _fits_text(pattern: str, text: str) -> bool:
    """`*` stands for anything. Each part is sought once, from left to right, so no pattern is slow."""
    first, *rest = pattern.split("*")
    if not rest:
        return pattern == text
    *middle, last = rest
    if len(text) < len(first) + len(last) or not (text.startswith(first) and text.endswith(last)):
        return False
    place, end = len(first), len(text) - len(last)
    for part in middle:
        found = text.find(part, place, end)
        if found < 0:
            return False
        place = found + len(part)
    return True


def _steps(pointer: str) -> list[str]:
    """The reference tokens of a JSON pointer (RFC 6901)."""
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]


def _at(value: Any, steps: list[str]) -> object:
    for step in steps:
        if isinstance(value, Mapping):
            value = cast("Mapping[str, object]", value).get(step, _NOTHING)
        elif isinstance(value, list | tuple) and step.isdecimal() and int(step) < len(cast("list[object]", value)):
            value = cast("list[object]", value)[int(step)]
        else:
            return _NOTHING
    return value


def _beside(intent: Intent) -> object:
    """What travels beside the record, as JSON, if it is."""
    for name, field in type(intent).model_fields.items():
        if field.exclude:
            value = getattr(intent, name)
            if isinstance(value, str):  # a program, not what it works on
                continue
            if not isinstance(value, bytes):
                return value
            try:
                return read_json(value)
            except ValueError:
                return _NOTHING
    return _NOTHING


def _beside_size(intent: Intent) -> int:
    return sum(
        len(value)
        for name, field in type(intent).model_fields.items()
        if field.exclude and isinstance(value := getattr(intent, name), bytes | str)
    )
