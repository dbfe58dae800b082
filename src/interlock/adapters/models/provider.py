"""One model at one provider."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

import anyio
import anyio.to_thread

from interlock import inference
from interlock.adapters.models.kinds import KINDS

if TYPE_CHECKING:
    from pydantic_ai.models import Model, ModelRequestParameters
    from pydantic_ai.settings import ModelSettings

_PARAMS: Final = {
    "temperature": "temperature",
    "max_tokens": "max_tokens",
    "top_p": "top_p",
    "top_k": "top_k",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "seed": "seed",
    "stop": "stop_sequences",
    "tool_choice": "tool_choice",
    "parallel_operations": "parallel_tool_calls",
}


def is_installed() -> bool:
    """Whether the extra `inference` is there. Nothing is imported."""
    return all(find_spec(name) is not None for name in ("pydantic_ai", "openai", "anthropic", "google.genai"))


class ProviderModel:
    """An `inference.Model`. Its library is imported when it is first asked."""

    def __init__(self, kind: str, name: str, *, provider: str, base_url: str) -> None:
        """`provider` is how the settings call it: what it wants back goes only to the provider of that name."""
        self._kind = kind
        self._name = name
        self._provider = provider
        self._base_url = base_url
        self._made: Model | None = None

    async def answer(
        self, request: inference.Request, *, wire: inference.Wire, told: inference.Told | None
    ) -> inference.Answer:
        """As the port says."""
        try:
            model = await self._model()
        except ImportError as error:
            missing = f"{request.model} cannot be asked: its provider's library is not installed ({error.name})"
            raise inference.ModelLibraryMissing(missing) from error
        from interlock.adapters.models import mistakes, translating
        from interlock.adapters.models.transport import CURRENT, Talk

        talk = Talk(wire=wire, options=request.provider_options, ends=KINDS[self._kind].ends)
        token = CURRENT.set(talk)
        try:
            response = await _asked(model, request, told, KINDS[self._kind].settings)
        except Exception as error:
            found = mistakes.told(error, request.model)
            if found is None:
                raise
            raise found from error.__cause__
        finally:
            CURRENT.reset(token)
        return translating.answered(response, model=self._name, was_cut=talk.was_cut)

    async def _model(self) -> "Model":
        """Made on a thread: to import a provider's library takes seconds, in which this process has to beat."""
        if self._made is None:
            self._made = await anyio.to_thread.run_sync(self._make)
        return self._made

    def _make(self) -> "Model":
        from interlock.adapters.models import mistakes, translating  # here, for they import the library, too
        from interlock.adapters.models.making import make

        assert mistakes
        assert translating
        return make(self._kind, self._name, provider=self._provider, base_url=self._base_url)


async def _asked(
    model: "Model", request: inference.Request, told: inference.Told | None, always: Mapping[str, object]
) -> Any:
    from pydantic_ai import direct

    from interlock.adapters.models import translating

    settings = _settings(model, request, always)
    parameters, messages = _parameters(model, request), translating.asked(request)
    if told is None:
        return await direct.model_request(
            model, messages, model_settings=settings, model_request_parameters=parameters, instrument=False
        )
    streaming = direct.model_request_stream(
        model, messages, model_settings=settings, model_request_parameters=parameters, instrument=False
    )
    async with streaming as stream:
        async for event in stream:
            if (delta := translating.delta(event)) is not None:
                told(delta)
        return stream.get()


def _settings(model: "Model", request: inference.Request, always: Mapping[str, object]) -> "ModelSettings":
    """What is `always` said, and the params; those that the provider has not are left out."""
    named = {**always} | {_PARAMS[name]: _listed(value) for name, value in request.params.items() if name in _PARAMS}
    return {name: value for name, value in named.items() if name not in model.unsupported_settings}  # pyright: ignore[reportReturnType]


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


def _parameters(model: "Model", request: inference.Request) -> "ModelRequestParameters":
    """Tools, and what the answer's words must fit: by the provider's own means where it has them, else it is asked in words. Some
    cannot have both at once."""
    from pydantic_ai.models import ModelRequestParameters
    from pydantic_ai.output import OutputObjectDefinition
    from pydantic_ai.tools import ToolDefinition

    tools = [
        ToolDefinition(name=each.name, description=each.description, parameters_json_schema=_plain(each.input))
        for each in request.tools
    ]
    if request.result is None:
        return ModelRequestParameters(function_tools=tools)
    both = not tools or model.system != "google" or model.profile.get("google_supports_tool_combination", False)
    native = both and model.profile.get("supports_json_schema_output", False)
    return ModelRequestParameters(
        function_tools=tools,
        output_mode="native" if native else "prompted",
        output_object=OutputObjectDefinition(json_schema=_plain(request.result), name="result"),
    )


def _plain(value: Mapping[str, Any]) -> dict[str, Any]:
    from interlock.adapters.models.transport import plain

    return plain(value)
