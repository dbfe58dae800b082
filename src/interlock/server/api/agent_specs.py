"""The agents of an installation, and specs that callers bring along. A spec decides what is done and what watches over it, so one
of the caller's own, or with another model, takes the role that changes what everybody works with."""

import logging
from typing import Annotated, Any, Final

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from interlock import agents, app
from interlock.kernel import JSON, ConfigurationError, InterlockError, RequestError, canonical
from interlock.server.api.access import Reading, must_operate
from interlock.server.api.answers import id_of, raw
from interlock.server.api.shapes import Table

router: Final = APIRouter(prefix="/agents", tags=["agents"])

Name = Annotated[str, id_of("agent", "desk")]

_log: Final = logging.getLogger(__name__)


class InstalledAgent(BaseModel):
    """An agent of the settings: `name` is how it is asked for, `id` how its turns are called. One whose spec its owner has to
    mend is not `valid`, and the rest of it is null."""

    model_config = ConfigDict(extra="forbid")
    name: str
    valid: bool
    id: str | None
    fingerprint: str | None
    model: str | None
    description: str | None
    context_schema: Table | None
    result_schema: Table | None


class InstalledAgents(BaseModel):
    """All of them."""

    model_config = ConfigDict(extra="forbid")
    agents: list[InstalledAgent]


class OfAgent(BaseModel):
    """Which agent is meant: an installed one by its name, or a spec of one's own, with another `model` if one is given."""

    agent: Annotated[str | None, Field(max_length=200, description="The name of an installed agent.")] = None
    spec: Annotated[
        Table | None, Field(description="A spec of your own (schemas/agent/v1.json): takes an operator's token.")
    ] = None
    model: Annotated[
        str | None, Field(max_length=200, description="Ask this one instead: takes an operator's token.")
    ] = None


@router.get("", response_model=InstalledAgents, summary="List the agents that the settings name")
async def list_agents(il: Reading) -> Response:
    """Of a limited token those that it may ask."""
    told = (_find(il, each) for each in il.agents.installed.names())
    return raw({"agents": [each for each in told if each is not None]})


@router.get("/installed/{name}", response_model=InstalledAgent, summary="One agent that the settings name")
async def fetch(il: Reading, name: Name) -> Response:
    """What it is asked with, and what it answers with."""
    return raw(_describe(name, installed(il, name)))


def _find(il: app.Interlock, name: str) -> JSON:
    """None for one that the caller may not ask, or might not."""
    try:
        return _describe(name, installed(il, name))
    except agents.AgentNotFound:
        return None
    except InterlockError as error:
        _log.error("%s", error)
        told: dict[str, JSON] = dict.fromkeys(InstalledAgent.model_fields)
        return {**told, "name": name, "valid": False} if il.caller.sees("agent.*", None) else None


def _describe(name: str, spec: agents.Spec) -> dict[str, JSON]:
    document: Any = spec.to_json()
    return {
        "name": name,
        "valid": True,
        "id": spec.id,
        "fingerprint": spec.fingerprint,
        "model": spec.model,
        "description": about if isinstance(about := spec.metadata.get("description"), str) else None,
        "context_schema": document.get("context_schema"),
        "result_schema": document.get("result", {}).get("schema"),
    }


def installed(il: app.Interlock, name: str) -> agents.Spec:
    """The agent of that name. Raises AgentNotFound, also for one that the caller may not ask, and ConfigurationError."""
    try:
        spec = il.agents.installed.fetch(name)
    except agents.InvalidSpec as error:  # the owner's, and not of who asks
        raise ConfigurationError(str(error)) from error
    except agents.AgentNotFound as error:
        if not il.caller.is_limited:
            raise
        raise _unknown(name) from error  # which names none that is called almost so
    if not il.caller.sees(f"agent.{spec.id}", None):
        raise _unknown(name)
    return spec


def _unknown(name: str) -> agents.AgentNotFound:
    return agents.AgentNotFound(f"no installed agent {name!r} in this tenant")


def _read(il: app.Interlock, document: Table) -> agents.Spec:
    """A spec of the caller's own. Raises InvalidSpec, ConfigurationError."""
    try:
        known = il.agents.registry
    except agents.InvalidSpec as error:  # nor is what the settings offer
        raise ConfigurationError(str(error)) from error
    # As a text, so that the limits of documents hold for it.
    return agents.read_spec(canonical(dict(document)), registry=known, complete=True)


def meant(il: app.Interlock, request: Request, asked: OfAgent) -> agents.Spec:
    """The spec that a request means. Raises RequestError, Forbidden, AgentNotFound, ConfigurationError, and InvalidSpec for a
    wrong one of the caller's own."""
    if (asked.agent is None) is (asked.spec is None):
        raise RequestError("say which agent: either `agent`, or `spec`")
    if asked.agent is not None and asked.model is None:
        return installed(il, asked.agent)
    must_operate(request, "a spec or a model of your own")
    spec = installed(il, asked.agent or "") if asked.spec is None else _read(il, asked.spec)
    return spec if asked.model is None else agents.asking(spec, asked.model, source="the request")
