"""Capabilities as tools of LangChain, and so of LangGraph. Needs the extra `langchain`."""

from contextvars import ContextVar
from typing import Any, Final

from interlock.bridges.capability_tools import CapabilityTools
from interlock.kernel import RequestError

try:
    from langchain_core.runnables import RunnableConfig
    from langchain_core.tools import BaseTool
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        'LangChain needs a library: pip install "interlock[langchain]"', name=missing.name
    ) from missing

_CALL: Final[ContextVar[str | None]] = ContextVar("interlock_langchain_call", default=None)


class CapabilityTool(BaseTool):
    """One capability. It is asked for from an event loop (`ainvoke`): what is asked for may wait. What came of it is told as
    JSON, also that it was held, refused or failed. In a thread (`configurable.thread_id`), a call that a graph makes again is
    not done again."""

    tools: Any
    """The `CapabilityTools` that it is one of."""

    async def arun(
        self, tool_input: str | dict[str, Any], *args: Any, tool_call_id: str | None = None, **more: Any
    ) -> Any:
        """As LangChain has it."""
        token = _CALL.set(tool_call_id)
        try:
            return await super().arun(tool_input, *args, tool_call_id=tool_call_id, **more)
        finally:
            _CALL.reset(token)

    async def _arun(self, config: RunnableConfig, **arguments: Any) -> str:
        thread_id, call_id = (config.get("configurable") or {}).get("thread_id"), _CALL.get()
        key = f"{thread_id}:{call_id}" if thread_id and call_id else None
        tools: CapabilityTools = self.tools
        return (await tools.call(self.name, arguments, key=key)).text

    def _run(self, *_: Any, **__: Any) -> str:
        raise RequestError(
            f"{self.name} is asked for from an event loop: `await tool.ainvoke(…)`, `await graph.ainvoke(…)`"
        )


def langchain_tools(tools: CapabilityTools) -> list[BaseTool]:
    """The tools, for an agent or a node of tools."""
    return [
        CapabilityTool(
            name=each.name,
            description=each.description,
            args_schema=dict(each.input_schema),
            metadata={"capability": each.capability_id, "effect": each.effect},
            tools=tools,
        )
        for each in tools.tools
    ]
