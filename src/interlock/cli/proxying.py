"""`interlock proxy`: a request of one's own over a connection, governed as any other."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated
from urllib.parse import parse_qsl

import typer

from interlock.cli.frame import command

if TYPE_CHECKING:
    from interlock.cli.desk import Answer, Desk
    from interlock.kernel import JSON


def register(tree: typer.Typer) -> None:
    """Add the commands of this module."""
    command(tree, "proxy")(proxy)


async def proxy(
    desk: "Desk",
    *,
    connection: Annotated[str, typer.Argument(metavar="CONNECTION", help="The connection's id or name.")],
    method: Annotated[str, typer.Argument(metavar="METHOD", help="GET, POST, PUT, PATCH or DELETE.")],
    path: Annotated[str, typer.Argument(metavar="PATH", help="Below the service's address: /v1/things?state=open")],
    data: Annotated[str | None, typer.Option(metavar="JSON", help="The body.")] = None,
    source: Annotated[
        str | None, typer.Option("--input", metavar="FILE", help="The body, JSON or as a header says; - is stdin.")
    ] = None,
    query: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="A parameter.")] = None,
    header: Annotated[list[str] | None, typer.Option(metavar="'NAME: VALUE'", help="A further header.")] = None,
    idempotency_key: Annotated[str | None, typer.Option(metavar="KEY", help="The same key never acts twice.")] = None,
    wait_approval: Annotated[
        bool, typer.Option("--wait-approval", help="If it is held, wait for the reviewer, up to --timeout.")
    ] = False,
    environment: Annotated[str | None, typer.Option(metavar="NAME", help="Recorded, and judged by policy.")] = None,
    seconds: Annotated[float, typer.Option("--timeout", metavar="SECONDS", help="For the whole call.")] = 120.0,
) -> "Answer":
    """Send a request of your own over a connection.

    It is a run of the capability NAME.proxy.METHOD, under policy, budgets and approvals as any other: a GET reads, a POST
    counts as execute, PUT and PATCH as update, DELETE as delete. An answer that is no success is an error.

    Example:
      interlock proxy github GET /user/repos --query per_page=5
    """
    from interlock.cli import invoking
    from interlock.kernel import InterlockError

    path, _, stated = path.partition("?")
    headers = _headers(header or ())
    body, text = _body(data, source, headers.get("content-type", "application/json"))
    async with desk.open(acting=True) as il:
        try:
            outcome = await il.proxy(
                connection,
                method,
                path,
                params=_params(stated, query or ()),
                headers=headers,
                body=body,
                text=text,
                idempotency_key=idempotency_key,
                environment=environment,
                timeout=seconds,
            )
            if wait_approval and outcome.approval_id is not None and outcome.state.value == "held":
                outcome = await invoking.wait(il, outcome.run_id, outcome.approval_id, seconds=seconds)
        except InterlockError as error:
            raise await invoking.in_doubt(il, error) from error
    return invoking.answer(outcome)


def _params(stated: str, given: Sequence[str]) -> "dict[str, JSON]":
    """The parameters of the address and of the options; several of one name are a list. Raises Usage."""
    from interlock.cli.errors import Usage

    found: dict[str, list[str]] = {}
    for pair in given:
        if "=" not in pair:
            raise Usage(f"--query {pair[:60]!r}: write KEY=VALUE")
    pairs = [(name, value) for name, _, value in (pair.partition("=") for pair in given)]
    for name, value in (*parse_qsl(stated, keep_blank_values=True), *pairs):
        found.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else list(values) for name, values in found.items()}


def _headers(given: Sequence[str]) -> dict[str, str]:
    from interlock.cli.errors import Usage

    found: dict[str, str] = {}
    for line in given:
        name, colon, value = line.partition(":")
        if not colon or name.strip().lower() in found:
            raise Usage(f"--header {name.strip()[:60]!r}: write 'NAME: VALUE', each name once")
        found[name.strip().lower()] = value.strip()
    return found


def _body(data: str | None, source: str | None, content_type: str) -> "tuple[JSON, str | None]":
    """The body, as JSON or as a text. Raises Usage, InvalidJson, FileRefused."""
    from interlock.cli import files
    from interlock.cli.errors import Usage
    from interlock.kernel import parse_json

    if data is not None and source is not None:
        raise Usage("the body is in one place: --data or --input")
    if data is None and source is None:
        return None, None
    content = (data or "").encode("utf-8", "surrogateescape") if source is None else files.read(source, "body")
    if content_type.partition(";")[0].strip().endswith("json"):
        return parse_json(content, what="body"), None
    try:
        return None, content.decode()
    except UnicodeDecodeError as error:
        raise Usage("the body is not UTF-8: only JSON and texts are sent") from error
