"""Capabilities as a toolset of Pydantic AI. Needs the extra `inference`."""

from typing import Any, Final

from interlock.bridges.capability_tools import CapabilityTools

try:
    from pydantic_ai import RunContext
    from pydantic_ai.tools import ToolDefinition
    from pydantic_ai.toolsets import AbstractToolset, ToolsetTool
    from pydantic_core import SchemaValidator, core_schema
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        'Pydantic AI needs a library: pip install "interlock[inference]"', name=missing.name
    ) from missing

_ANYTHING: Final = SchemaValidator(core_schema.dict_schema(core_schema.str_schema()))
"""Interlock validates an input itself, and tells what is wrong with it."""


class InterlockToolset(AbstractToolset[Any]):
    """The tools, for `Agent(toolsets=[…])`. What came of a call is told to the model, also that it was held, refused or failed. A
    call that is made again in the same run is not done again."""

    def __init__(self, tools: CapabilityTools, *, toolset_id: str = "interlock") -> None:
        """`toolset_id` tells it from others of the same agent."""
        self._tools = tools
        self._toolset_id = toolset_id

    @property
    def id(self) -> str:
        """As Pydantic AI has it."""
        return self._toolset_id

    async def get_tools(self, ctx: RunContext[Any]) -> dict[str, ToolsetTool[Any]]:
        """As Pydantic AI has it."""
        return {
            each.name: ToolsetTool(
                toolset=self,
                tool_def=ToolDefinition(
                    name=each.name,
                    description=each.description,
                    parameters_json_schema=dict(each.input_schema),
                    metadata={"capability": each.capability_id, "effect": each.effect},
                ),
                max_retries=ctx.max_retries,
                args_validator=_ANYTHING,
            )
            for each in self._tools.tools
        }

    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: RunContext[Any], tool: ToolsetTool[Any]
    ) -> Any:
        """As Pydantic AI has it."""
        key = f"{ctx.run_id}:{ctx.tool_call_id}" if ctx.run_id and ctx.tool_call_id else None
        return (await self._tools.call(name, tool_args, key=key)).to_json()
