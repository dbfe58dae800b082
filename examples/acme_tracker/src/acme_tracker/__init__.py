"""Acme's tracker, as a connector: one operation that is data, and one that needs Python."""

from interlock import sdk
from interlock.kernel import JSON


class TicketOpen(sdk.Input):
    """Open a ticket."""

    repo: sdk.Repo
    title: str


class TicketReport(sdk.Input):
    """Open a ticket and say more in a first comment."""

    repo: sdk.Repo
    title: str
    detail: str


class Ticket(sdk.Record):
    number: int
    title: str
    url: str = sdk.at("/html_url")


class Report(sdk.Record):
    number: int
    comment_id: int


async def report(value: dict[str, JSON], http: sdk.Http) -> JSON:
    """Two requests, the second of which needs the first one's answer. The port adds the credential; this code never sees
    it, and every request is committed to the ledger before it leaves."""
    import json

    repo = value["repo"]
    opened = await http.request(
        sdk.HttpRequest(method="POST", path=f"/repos/{repo}/issues", json_body={"title": value["title"]})
    )
    if opened.status != 201:
        raise sdk.ProviderUnavailable(f"the tracker answered {opened.status}", effect="none")
    number = json.loads(opened.body)["number"]
    said = await http.request(
        sdk.HttpRequest(
            method="POST", path=f"/repos/{repo}/issues/{number}/comments", json_body={"body": value["detail"]}
        )
    )
    return {"number": number, "comment_id": json.loads(said.body)["id"]}


connector = sdk.Connector(
    "acme_tracker",
    version="1.2.0",
    description="Tickets in Acme's tracker.",
    base_url="https://tracker.acme.example",
    category="developer_tools",
    auth=[
        sdk.token_profile(scopes=["repo"], probe=sdk.probe("/user", subject="/login", scopes_header="x-oauth-scopes"))
    ],
    operations=[
        sdk.post(
            "ticket.open",
            "/repos/{repo}/issues",
            input=TicketOpen,
            output=Ticket,
            scopes=["repo"],
            reconcile=sdk.find(
                "/repos/{repo}/issues",
                query={"state": "all", "creator": "{subject}", "sort": "created", "direction": "desc"},
                items="",
                match={"/title": "{input.title}", "/user/login": "{subject}"},
                since="/created_at",
                newest_first=True,
            ),
        ),
        sdk.handler("ticket.report", report, effect="create", input=TicketReport, output=Report, scopes=["repo"]),
    ],
)
