"""What an operation is asked and what it answers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from interlock.testing.github.world import Issue, Repository, World

DOCUMENTATION_URL = "https://docs.github.com/rest"
_LARGEST_PAGE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer before it is put on the wire. `applied`: something was changed."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    applied: bool = False


class Refusal(Exception):
    """The request is answered with an error, in GitHub's shape."""

    def __init__(
        self, status: int, message: str, *, errors: Sequence[Any] = (), headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        body: dict[str, Any] = {"message": message, "documentation_url": DOCUMENTATION_URL, "status": str(status)}
        if errors:
            body["errors"] = list(errors)
        self.answer = Answer(status=status, body=body, headers=dict(headers or {}))


def invalid(resource: str, field_name: str, code: str = "invalid", **more: Any) -> Refusal:
    """422, with the one field that is wrong."""
    return Refusal(422, "Validation Failed", errors=[{"resource": resource, "field": field_name, "code": code, **more}])


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A request that the description accepts: who asks, and the checked path, query and body."""

    world: World
    login: str
    url: str
    path: Mapping[str, str]
    query: Mapping[str, Any]
    body: Mapping[str, Any]

    @property
    def repo(self) -> Repository:
        """The repository of the path; the door has already made sure that it exists."""
        found = self.world.find_repository(f"{self.path['owner']}/{self.path['repo']}")
        if found is None:
            raise Refusal(404, "Not Found")
        return found

    def fetch_issue(self, parameter: str = "issue_number") -> Issue:
        """The issue or pull request that the path names. Refuses with 404."""
        found = self.repo.issues.get(int(self.path[parameter]))
        if found is None:
            raise Refusal(404, "Not Found")
        return found

    def page(self, items: Sequence[Any]) -> tuple[Sequence[Any], dict[str, str]]:
        """The items of the page that the query wants, and the Link header."""
        size = min(max(int(self.query.get("per_page", 30)), 1), _LARGEST_PAGE)
        number = max(int(self.query.get("page", 1)), 1)
        last = max(-(-len(items) // size), 1)
        links = {"prev": number - 1, "next": number + 1, "last": last, "first": 1}
        wanted = [
            (name, page)
            for name, page in links.items()
            if 1 <= page <= last and (number > 1 if name in {"prev", "first"} else number < last)
        ]
        query = {name: value for name, value in self.query.items() if name not in {"page", "per_page"}}
        link = ", ".join(
            f'<{self.url}?{urlencode({**query, "per_page": size, "page": page})}>; rel="{name}"'
            for name, page in wanted
        )
        return items[(number - 1) * size : number * size], {"link": link} if link else {}


Handler = Callable[[Ask], Answer]
"""One operation. It changes the world only when it will answer with success."""
