"""Models as one caller asks them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from interlock.app import arguments

if TYPE_CHECKING:
    from interlock import inference
    from interlock.app.assembly import Parts
    from interlock.kernel import Caller


class Inference:
    """`il.inference`: models, asked as runs under policy and budgets.

    answered = await il.inference.ask("openai:gpt-4o-mini", "What is an interlocking?")
    print(answered.answer.message.text, answered.cost)
    """

    def __init__(self, parts: "Parts", caller: "Caller") -> None:
        self._parts = parts
        self._caller = caller

    @arguments.checked
    async def ask(
        self,
        model: str,
        said: "str | Sequence[inference.Message]",
        *,
        instructions: str = "",
        result: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        key: str | None = None,
        environment: str | None = None,
        timeout: float = 120.0,  # noqa: ASYNC109 - it becomes the run's recorded deadline
        told: "inference.Told | None" = None,
    ) -> "inference.Answered":
        """Ask a model, named `provider:name`. Asked again with the same `key` it answers from the record. `told` is told what the
        model says as it comes. Raises as `inference.Inference.ask`."""
        from interlock import inference

        messages = (inference.said(said),) if isinstance(said, str) else tuple(said)
        request = inference.Request(
            model=model, instructions=instructions, messages=messages, result=result, params=params or {}
        )
        return await self.send(request, key=key, environment=environment, timeout=timeout, told=told)

    @arguments.checked
    async def send(
        self,
        request: "inference.Request",
        *,
        key: str | None = None,
        environment: str | None = None,
        timeout: float = 120.0,  # noqa: ASYNC109 - as in `ask`
        told: "inference.Told | None" = None,
    ) -> "inference.Answered":
        """As `ask`, with all that a request may say."""
        parts = self._parts
        return await parts.inference.ask(
            self._caller,
            request,
            key=key or parts.wiring.ids.new("snd"),
            environment=environment or parts.settings.environment,
            timeout_s=timeout,
            told=told,
        )

    @property
    def providers(self) -> Sequence[str]:
        """The names that models may begin with."""
        return self._parts.inference.providers
