"""`interlock proxy`: a request of one's own over a connection, governed as any other."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, cast
from urllib.parse import parse_qsl

import typer

from interlock.cli.frame import command

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from interlock import runs
    from interlock.cli.desk import Answer, Desk
    from interlock.cli.facade import Facade
    from interlock.cli.paper import Paper
    from interlock.kernel import JSON

_Input = Annotated[
    str | None,
    typer.Option("--input", metavar="FILE", help="The body: JSON, or what the header content-type says; - is stdin."),
]
_Output = Annotated[
    str | None, typer.Option("--output", "-o", metavar="FILE", help="Write the answer's body there; - is stdout.")
]


def register(tree: typer.Typer) -> None:
    """Add the commands of this module."""
    command(tree, "proxy")(proxy)


async def proxy(
    desk: "Desk",
    *,
    connection: Annotated[str, typer.Argument(metavar="CONNECTION", help="The connection's id or name.")],
    method: Annotated[str, typer.Argument(metavar="METHOD", help="GET, HEAD, POST, PUT, PATCH or DELETE.")],
    path: Annotated[str, typer.Argument(metavar="PATH", help="Below the service's address: /v1/things?state=open")],
    data: Annotated[str | None, typer.Option(metavar="JSON", help="The body.")] = None,
    source: _Input = None,
    query: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="A parameter.")] = None,
    header: Annotated[list[str] | None, typer.Option(metavar="'NAME: VALUE'", help="A further header.")] = None,
    pages: Annotated[
        int, typer.Option(min=1, max=1000, metavar="N", help="Follow a list so far; each page is a run.")
    ] = 1,
    include: Annotated[bool, typer.Option("--include", "-i", help="Show the answer's headers, too.")] = False,
    output: _Output = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    idempotency_key: Annotated[str | None, typer.Option(metavar="KEY", help="The same key never acts twice.")] = None,
    wait_approval: Annotated[
        bool, typer.Option("--wait-approval", help="If it is held, wait for the reviewer, up to --timeout.")
    ] = False,
    environment: Annotated[str | None, typer.Option(metavar="NAME", help="Recorded, and judged by policy.")] = None,
    seconds: Annotated[float, typer.Option("--timeout", metavar="SECONDS", help="For each call.")] = 120.0,
) -> "Answer | None":
    """Send a request of your own over a connection.

    It is a run of the capability NAME.proxy.METHOD, under policy, budgets and approvals as any other: GET and HEAD read, a POST
    counts as execute, PUT and PATCH as update, DELETE as delete. Only a rule that names it allows it. An answer that is no
    success is an error; one of more than 8 MiB is refused. A body has at most 1 MiB as it stands in the record: a file that is
    no text counts a third more.

    Example:
      interlock proxy github GET /user/repos --query per_page=5
    """
    from interlock import app
    from interlock.cli import files
    from interlock.cli.errors import Usage

    if output not in (None, "-") and not force:
        files.require_new(output, "answer", next_step=files.BY_FORCE)
    if pages > 1 and (method.upper() != "GET" or idempotency_key is not None):
        raise Usage("--pages goes with GET, and without --idempotency-key: each page is a run of its own")
    path, _, stated = path.partition("?")
    params, headers = _params(stated, query or ()), _headers(header or ())
    body = _body(data, source, headers.get("content-type"))
    async with desk.open(acting=True) as il:

        async def send(params: "Mapping[str, JSON]") -> "runs.Outcome":
            sent = il.proxy(
                connection, method, path, params=params, headers=headers, **body,
                idempotency_key=idempotency_key, environment=environment, timeout=seconds,
            )  # fmt: skip
            return await _settled(il, sent, seconds=seconds if wait_approval else None)

        if pages > 1:
            outcome = await app.follow(send, params, paging=await il.paging(connection), pages=pages)
        else:
            outcome = await send(params)
    in_document = output == "-" and desk.options.as_json
    return _answer(outcome, include=include, output=None if in_document else output, force=force)


async def _settled(il: "Facade", sent: "Awaitable[runs.Outcome]", *, seconds: float | None) -> "runs.Outcome":
    """The outcome, after the reviewer's word if there are `seconds` for it."""
    from interlock.cli import invoking
    from interlock.kernel import InterlockError

    try:
        outcome = await sent
        if seconds is not None and outcome.approval_id is not None and outcome.state.value == "held":
            outcome = await invoking.wait(il, outcome.run_id, outcome.approval_id, seconds=seconds)
    except InterlockError as error:
        raise await invoking.in_doubt(il, error) from error
    return outcome


def _answer(outcome: "runs.Outcome", *, include: bool, output: str | None, force: bool) -> "Answer | None":
    """What came back: the body, and more if asked for; or where it was written to. Raises FileRefused."""
    from dataclasses import replace

    from interlock.cli import files, invoking

    told = cast("dict[str, JSON] | None", outcome.output)
    if told is None:
        return invoking.answer(outcome)
    if output is not None:
        content = _content(told)
        files.write(output, content, "answer", force=force)
        if output == "-":
            return None
        kept: dict[str, JSON] = {name: told[name] for name in ("status", "headers")}
        return invoking.answer(replace(outcome, output={**kept, "file": output, "bytes": len(content)}))
    answer = invoking.answer(outcome)
    if include:
        return answer
    short = replace(outcome, output={name: value for name, value in told.items() if name != "headers"})

    def show(paper: "Paper") -> None:
        invoking.show(paper, short)

    return replace(answer, show=show)


def _content(told: "Mapping[str, JSON]") -> bytes:
    """The bytes of the body that came; JSON as it is written here."""
    import base64

    from interlock.cli.text import json_text

    if "text" in told:
        return str(told["text"]).encode()
    if "base64" in told:
        return base64.b64decode(str(told["base64"]))
    if "pages" in told:
        return (json_text(told["pages"]) + "\n").encode()
    return b"" if told["body"] is None else (json_text(told["body"]) + "\n").encode()


def _params(stated: str, given: Sequence[str]) -> "dict[str, JSON]":
    """The parameters of the address and of the options; several of one name are a list. Raises Usage."""
    from interlock import sdk
    from interlock.cli.errors import Usage

    if "#" in stated:
        raise Usage("PATH: what follows a # is never sent; a # within a value is %23")
    for pair in given:
        if "=" not in pair:
            raise Usage(f"--query {pair[:60]!r}: write KEY=VALUE")
    pairs = [(name, value) for name, _, value in (pair.partition("=") for pair in given)]
    return sdk.gathered((*parse_qsl(stated, keep_blank_values=True), *pairs))


def _headers(given: Sequence[str]) -> dict[str, str]:
    from interlock.cli.errors import Usage

    found: dict[str, str] = {}
    for line in given:
        name, colon, value = line.partition(":")
        if not colon or name.strip().lower() in found:
            raise Usage(f"--header {name.strip()[:60]!r}: write 'NAME: VALUE', each name once")
        found[name.strip().lower()] = value.strip()
    return found


def _body(data: str | None, source: str | None, content_type: str | None) -> "dict[str, Any]":
    """The body as `il.proxy` takes it. Raises Usage, InvalidJson, FileRefused."""
    from interlock.cli import files
    from interlock.cli.errors import Usage
    from interlock.kernel import InvalidJson, parse_json

    if data is not None and source is not None:
        raise Usage("the body is in one place: --data or --input")
    if data is None and source is None:
        return {}
    content = (data or "").encode("utf-8", "surrogateescape") if source is None else files.read(source, "body")
    if content_type is None or content_type.partition(";")[0].strip().endswith("json"):
        try:
            return {"body": parse_json(content, what="body")}
        except InvalidJson as error:
            if content_type is not None:
                raise
            how = "Correct it, or say what it is: --header 'content-type: text/csv'."
            raise InvalidJson(error.message, next_step=how) from error
    try:
        return {"text": content.decode()}
    except UnicodeDecodeError:
        return {"content": content}
