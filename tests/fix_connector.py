"""A small connector that uses every feature of the SDK, for tests."""

import json
from collections.abc import Generator, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from interlock import sdk
from interlock.kernel import JSON

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
FACTS = sdk.Facts(subject="octo", started_at=NOW)


class TicketCreate(sdk.Input):
    """Open a ticket."""

    repo: sdk.Repo
    title: str
    body: str | None = None
    labels: list[str] | None = None
    priority: int = 3


class Ticket(sdk.Record):
    number: int
    title: str
    body: str | None = None
    author: str = sdk.at("/user/login")
    labels: list[str] = sdk.at("/labels/*/name")
    closed_at: str | None = sdk.at("/closed_at")
    repo: str = sdk.echo("repo")
    actor: str | None = sdk.subject()


class TicketClose(sdk.Input):
    """Close a ticket."""

    repo: sdk.Repo
    number: int


class TicketQuery(sdk.Page):
    """List tickets."""

    repo: sdk.Repo
    state: Literal["open", "closed"] | None = None


class TicketList(sdk.Record):
    tickets: list[Ticket] = sdk.at("")
    next_page: int | None = sdk.from_next("page")
    etag: str | None = sdk.header("ETag")


class Search(sdk.Input):
    """Search."""

    text: str
    cursor: str | None = None
    max_pages: int = 1


class FileWrite(sdk.Input):
    """Write a file."""

    repo: sdk.Repo
    path: Annotated[str, sdk.slashes()]
    content: str
    branch: str | None = None


class FileWritten(sdk.Record):
    sha: str = sdk.at("/content/sha")
    commit: str | None = sdk.at("/commit/sha", required=False)


class RefDelete(sdk.Input):
    """Delete a ref."""

    repo: sdk.Repo
    ref: Annotated[str, sdk.slashes()]


class Deleted(sdk.Record):
    ref: str = sdk.echo("ref")
    deleted: bool = sdk.constant(value=True)


class Found(sdk.Record):
    titles: list[str] = sdk.at("/results/*/title")
    next_cursor: str | None = None


SEARCH_SCHEMA: dict[str, Any] = sdk.schema_of(Search)
SEARCH_SCHEMA["properties"]["max_pages"]["maximum"] = 10


async def shout(input: Mapping[str, JSON], http: sdk.Http) -> JSON:  # noqa: A002
    response = await http.request(sdk.HttpRequest(method="GET", path="/echo", query=(("q", str(input["text"])),)))
    print("this goes to stderr")
    return {"said": response.body.decode().upper()}


async def stumble(input: Mapping[str, JSON], http: sdk.Http) -> JSON:  # noqa: A002
    raise KeyError("nothing here")


def connector(**changes: Any) -> sdk.Connector:
    declaration: dict[str, Any] = {
        "version": "1.2.3",
        "description": "Tickets.",
        "base_url": "https://api.acme.dev",
        "tags": ["tickets"],
        "auth": [
            sdk.token_profile(
                scopes=["repo"], probe=sdk.probe("/user", subject="/login", scopes_header="x-oauth-scopes")
            )
        ],
        "errors": [
            sdk.error(
                403,
                "rate_limited",
                when=sdk.when(header="x-ratelimit-remaining", equals="0"),
                retry_after=sdk.wait(header="retry-after", reset_header="x-ratelimit-reset", seconds=60),
            ),
            sdk.error(403, "rate_limited", when=sdk.when(contains="Secondary Rate"), retry_after=sdk.wait(seconds=60)),
        ],
        "operations": operations(),
        "triggers": [
            sdk.trigger(
                "ticket.opened",
                "poll",
                signal={"type": "object", "properties": {"number": {"type": "integer"}}},
                about="A ticket was opened.",
                polling={"default_seconds": 60, "min_seconds": 5},
            )
        ],
    }
    return sdk.Connector("acme", **{**declaration, **changes})


def operations() -> list[sdk.Draft]:
    return [
        sdk.post(
            "ticket.create",
            "/repos/{repo}/tickets",
            input=TicketCreate,
            output=Ticket,
            scopes=["repo"],
            surface=sdk.common("work_item.create", "create_work_item"),
            errors=[sdk.error(422, "resource_conflict", when=sdk.when(pointer="/code", equals="taken"))],
            reconcile=sdk.find(
                "/repos/{repo}/tickets",
                query={"creator": "{subject}", "since": "{started_at-60s}", "label": "{input.labels}"},
                items="",
                since="/created_at",
                newest_first=True,
                match={
                    "/title": "{input.title}",
                    "/body": "{input.body}",
                    "/user/login": "{subject}",
                    "/labels/*/name": sdk.same("{input.labels}", op="subset", optional=True),
                },
            ),
        ),
        sdk.patch(
            "ticket.close",
            "/repos/{repo}/tickets/{number}",
            input=TicketClose,
            output=Ticket,
            constants={"state": "closed"},
            reconcile=sdk.find("/repos/{repo}/tickets/{number}", match={"/state": "closed"}),
        ),
        sdk.get(
            "ticket.list",
            "/repos/{repo}/tickets",
            input=TicketQuery,
            output=TicketList,
            pagination=sdk.link_pages(),
            conditional=True,
        ),
        sdk.post(
            "search",
            "/search",
            effect="read",
            safe=True,
            input=SEARCH_SCHEMA,
            output=Found,
            body={"text": "/query/text"},
            pagination=sdk.cursor_pages(items="/results", cursor="/next_cursor", cursor_field="cursor"),
        ),
        sdk.put(
            "file.write",
            "/repos/{repo}/contents/{path}",
            input=FileWrite,
            output=FileWritten,
            encode={"content": "base64"},
            reconcile=sdk.find(
                "/repos/{repo}/contents/{path}",
                query={"ref": "{input.branch}"},
                match={"/sha": "{input.content|git_blob_sha}"},
                absent_status=[404],
                output={"sha": "/sha"},
            ),
        ),
        sdk.delete(
            "ref.delete",
            "/repos/{repo}/git/refs/{ref}",
            input=RefDelete,
            output=Deleted,
            reconcile=sdk.find("/repos/{repo}/git/ref/{ref}", absent_status=[404], gone=True),
        ),
        sdk.handler(
            "shout", shout, effect="read", input=Search, output={"type": "object"}, schemas={"output": "dynamic"}
        ),
        sdk.post(
            "payment.create",
            "/payments",
            input={"type": "object", "properties": {"cents": {"type": "integer"}}, "additionalProperties": False},
            output={"type": "object", "properties": {"id": {"type": "string"}}},
            idempotency="key",
            idempotency_header="Idempotency-Key",
        ),
    ]


def operation(operation_id: str) -> sdk.Operation:
    return next(each for each in connector().manifest.operations if each.operation_id == operation_id)


def answer(body: object = None, *, status: int = 200, **headers: str) -> sdk.HttpResponse:
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return sdk.HttpResponse(status=status, headers=named, body=b"" if body is None else json.dumps(body).encode())


def drive(
    generator: Generator[sdk.HttpRequest, sdk.HttpResponse, Any], *answers: sdk.HttpResponse
) -> tuple[list[sdk.HttpRequest], Any]:
    """The requests that a program makes when it gets these answers, and what it returns."""
    requests: list[sdk.HttpRequest] = []
    waiting = list(answers)
    try:
        request = next(generator)
        while True:
            requests.append(request)
            assert waiting, f"the program wants another answer, for {request}"
            request = generator.send(waiting.pop(0))
    except StopIteration as stop:
        assert not waiting, "the program ended before the last answer"
        return requests, stop.value


TICKET: dict[str, Any] = {
    "number": 7, "title": "Leak", "body": None, "user": {"login": "octo"}, "labels": [{"name": "bug"}],
    "closed_at": None, "created_at": "2026-03-01T12:00:01Z", "state": "open",
}  # fmt: skip
