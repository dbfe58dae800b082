"""What settings are made of, and the servers that they name."""

import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator


def _name(text: str) -> str:
    if not 0 < len(text) <= 200 or not text.isprintable():
        raise ValueError("must be 1 to 200 printable characters")
    return text


def _address(text: str) -> str:
    if not text or "\0" in text:
        raise ValueError("must be a path or an address, without a zero character")
    return text


def _short_name(text: str) -> str:
    if re.fullmatch(r"[a-z][a-z0-9_]{0,62}", text) is None:
        raise ValueError("must be 1 to 63 lower-case letters, digits and _, a letter first")
    return text


Name: TypeAlias = Annotated[str, AfterValidator(_name)]
Address: TypeAlias = Annotated[str, AfterValidator(_address)]
ShortName: TypeAlias = Annotated[str, AfterValidator(_short_name)]


class Part(BaseModel):
    """A table of settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class McpSettings(Part):
    """An MCP server whose tools agents may use: a `command` that speaks by its standard input and output, run in the settings'
    folder with `env` and nothing else of ours, or a `url`. `secrets` are variables of the command, and which of ours they are
    taken from; `token_env` is ours with the token that the URL is shown, or `connection` the caller's connection, by its name or
    id, whose credential it is shown under a lease with these `scopes`. `presence`: turns that would use it do not begin without
    it (`required`), or begin without its tools (`optional`); unset, it is asked once a tool is called. `tools` is the file with
    what was written down of it (NAME.tools.json). `timeout`: seconds that its beginning may take."""

    command: tuple[Address, ...] = ()
    url: Address | None = None
    env: Mapping[str, str] = Field(default_factory=dict[str, str])
    secrets: Mapping[str, Name] = Field(default_factory=dict[str, str])
    token_env: Name | None = None
    connection: Name | None = None
    scopes: tuple[Name, ...] = ()
    presence: Literal["required", "optional"] | None = None
    tools: Address | None = None
    timeout: Annotated[float, Field(gt=0, le=600)] = 30.0

    @model_validator(mode="after")
    def _check(self) -> Self:
        if bool(self.command) is (self.url is not None):
            raise ValueError("an MCP server has a `command` or a `url`, one of both")
        if self.url is not None and (self.env or self.secrets):
            raise ValueError("`env` and `secrets` are for a `command`")
        if self.command and (self.token_env is not None or self.connection is not None):
            raise ValueError("`token_env` and `connection` are for a `url`; a command has `secrets`")
        if self.connection is not None and self.token_env is not None:
            raise ValueError("an MCP server is shown the token of `token_env` or that of a `connection`, not both")
        if self.scopes and self.connection is None:
            raise ValueError("`scopes` are those of a lease on a `connection`")
        return self
