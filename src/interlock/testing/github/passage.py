"""The way of a request: admission, faults, GitHub's description, its operation, and out again."""

import hashlib
from collections.abc import Mapping
from email.utils import format_datetime
from typing import Any, cast

import orjson
from starlette.requests import Request
from starlette.responses import Response

from interlock.testing.github import git, issues, pulls, webhooks
from interlock.testing.github.answers import Answer, Ask, Handler, Refusal
from interlock.testing.github.fake import Fake, Token
from interlock.testing.github.faults import Fault
from interlock.testing.github.wire import Cut, Hold

OPERATIONS: Mapping[str, Handler] = {
    **issues.OPERATIONS,
    **pulls.OPERATIONS,
    **git.OPERATIONS,
    **webhooks.OPERATIONS,
}
_SERVER_ERROR = Refusal(500, "Server Error").answer


class Passage:
    """One request on its way through the fake."""

    def __init__(self, fake: Fake, request: Request, body: bytes) -> None:
        self._fake = fake
        self._request = request
        self._body = body
        self._path: str = request.scope["path"]
        self._found = fake.description.find("GET" if request.method == "HEAD" else request.method, self._path)
        self._token: Token | None = None
        self._exchange = fake.log.open(
            method=request.method,
            path=self._path,
            query=request.url.query,
            operation_id=self._found[0].operation_id if self._found else "",
            headers=request.headers,
            body_size=len(body),
        )

    async def answer(self) -> Response:
        """Answer, or fail as it was ordered."""
        try:
            token = self._token = self._admit()
        except Refusal as refusal:
            return self._response(refusal.answer)
        fault = self._fake.take_fault(self._exchange)
        if fault is None:
            return self._response(self._carry_out(token))
        self._exchange.fault = fault.kind
        if not await self._may_go_on(fault):
            return Cut(self._fake.wires)
        return await self._fail(fault, self._carry_out(token) if fault.apply else _SERVER_ERROR)

    def _admit(self) -> Token:
        headers = self._request.headers
        if "user-agent" not in headers:
            raise Refusal(403, "Request forbidden by administrative rules. Send a User-Agent header.")
        scheme, _, secret = headers.get("authorization", "").partition(" ")
        if not secret:
            raise Refusal(401, "Requires authentication")
        token = self._fake.setup.tokens.get(secret.strip()) if scheme.lower() in {"bearer", "token"} else None
        if token is None or (token.expires_at is not None and token.expires_at <= self._fake.world.now()):
            raise Refusal(401, "Bad credentials")
        self._exchange.login = token.login
        if not self._fake.limits.remaining(token.login):
            raise _limit_exceeded(token.login)
        return token

    async def _may_go_on(self, fault: Fault) -> bool:
        """Wait where a fault wants it before the request is carried out."""
        if fault.kind == "hold_before":
            return await self._wait(Hold()) == "released"
        if fault.kind == "late":
            self._fake.wires.cut(self._request.scope)
            return await self._fake.wait(Hold(), self._exchange, receive=None) == "released"
        return True

    async def _fail(self, fault: Fault, answer: Answer) -> Response:
        """Give the answer in the way of the fault."""
        match fault.kind:
            case "rate_limit":
                self._fake.limit(remaining=0, reset_in=fault.seconds)
                return self._response(_limit_exceeded(self._exchange.login).answer)
            case "status" | "secondary_limit":
                return self._response(fault.refusal())
            case "cut_before" | "reset" | "late":
                return Cut(self._fake.wires, reset=fault.kind == "reset")
            case "cut_answer":
                response = self._response(answer)
                # Without a body the head alone would be a whole answer.
                return Cut(self._fake.wires, answer=response if response.body else None)
            case "garbage":
                response = self._response(answer)
                status = response.status_code if response.body else 200
                return Response(b"<html>not JSON", status_code=status, media_type="application/json")
            case "hang":
                await self._wait(Hold(listed=False))
                return Cut(self._fake.wires)
            case "slow" | "hold":
                listed = fault.kind == "hold"
                outcome = await self._wait(Hold(listed=listed), seconds=None if listed else fault.seconds)
                return self._response(answer) if outcome == "released" else Cut(self._fake.wires)
            case _:  # hold_before has had its wait
                return self._response(answer)

    async def _wait(self, hold: Hold, *, seconds: float | None = None) -> str:
        return await self._fake.wait(hold, self._exchange, receive=self._request.receive, seconds=seconds)

    def _carry_out(self, token: Token) -> Answer:
        try:
            answer = self._operate(token)
        except Refusal as refusal:
            answer = refusal.answer
        if answer.applied:
            self._fake.log.note_effect(self._exchange)
        if self._found and self._fake.setup.check_answers:
            problems = self._fake.description.check_answer(self._found[0].operation_id, answer.status, answer.body)
            if problems:
                return Refusal(500, f"The fake's own answer is not as described: {'; '.join(problems)}").answer
        return answer

    def _operate(self, token: Token) -> Answer:
        if self._found is None:
            raise Refusal(404, "Not Found")
        operation, path = self._found
        if "repo" in path:
            repo = self._fake.world.find_repository(f"{path['owner']}/{path['repo']}")
            if repo is None or (repo.private and "repo" not in token.scopes):
                raise Refusal(404, "Not Found")
        if operation.method != "GET" and "repo" not in token.scopes:
            raise Refusal(403, "Resource not accessible by personal access token")
        query, problems = self._fake.description.check_query(operation, self._request.query_params)
        body = _parsed(self._body)
        problems += self._fake.description.check_body(operation, body)
        if problems:
            raise Refusal(422, "Invalid request.\n\n" + "\n".join(problems))
        ask = Ask(
            world=self._fake.world,
            login=token.login,
            url=self._fake.url + self._path,
            path=path,
            query=query,
            body=body or {},
        )
        return OPERATIONS[operation.operation_id](ask)

    def _response(self, answer: Answer) -> Response:
        body = b"" if answer.body is None else orjson.dumps(answer.body)
        status = answer.status
        headers = {**self._headers(), **answer.headers}
        if self._request.method == "GET" and status == 200:
            headers["etag"] = f'W/"{hashlib.sha256(body).hexdigest()}"'
            headers["cache-control"] = "private, max-age=60, s-maxage=60"
            known = self._request.headers.get("if-none-match", "").split(",")
            if {"*", headers["etag"][2:]} & {tag.strip().removeprefix("W/") for tag in known}:
                status, body = 304, b""
        login = self._exchange.login
        if login is not None:
            if status != 304:  # GitHub does not count these
                self._fake.limits.spend(login)
            headers |= self._fake.limits.headers(login)
        self._exchange.status = status
        return Response(body, status_code=status, headers=headers)

    def _headers(self) -> dict[str, str]:
        headers = {
            "date": format_datetime(self._fake.world.now(), usegmt=True),
            "server": "github.com",
            "content-type": "application/json; charset=utf-8",
            "vary": "Accept, Authorization, Cookie, Accept-Encoding",
            "x-content-type-options": "nosniff",
            "x-github-media-type": "github.v3; format=json",
            "x-github-request-id": f"{self._exchange.sequence:04X}:{self._exchange.body_size:04X}",
        }
        if self._token is not None:
            headers["x-oauth-scopes"] = ", ".join(self._token.scopes)
            headers["x-accepted-oauth-scopes"] = "repo"
            if (end := self._token.expires_at) is not None:
                headers["github-authentication-token-expiration"] = f"{end:%Y-%m-%d %H:%M:%S} UTC"
        return headers


def _limit_exceeded(login: str | None) -> Refusal:
    return Refusal(403, f"API rate limit exceeded for user {login}.")


def _parsed(body: bytes) -> dict[str, Any] | None:
    """The JSON object in a request's body; None for no body. Refuses with 400."""
    if not body:
        return None
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Refusal(400, "Problems parsing JSON") from None
    if not isinstance(value, dict):
        raise Refusal(400, "Body should be a JSON object")
    return cast("dict[str, Any]", value)
