"""Repository webhooks over REST: make, list and delete them, list what was delivered, deliver again."""

from urllib.parse import urlencode, urlsplit

from interlock import kernel
from interlock.testing.github import events, told_shapes
from interlock.testing.github.answers import Answer, Ask, Handler, Refusal
from interlock.testing.github.hooks import Hook
from interlock.testing.github.world import Repository, World

_MOST = 20


def create_hook(ask: Ask) -> Answer:
    config = ask.body.get("config", {})
    hook = add_hook(
        ask.world,
        ask.repo,
        url=config.get("url", ""),
        secret=config.get("secret"),
        wanted=ask.body.get("events", ["push"]),
        content_type=config.get("content_type", "form"),
        active=ask.body.get("active", True),
    )
    shape = told_shapes.hook(ask.world, ask.repo, hook)
    events.ping(ask.world, ask.repo, ask.login, hook)
    return Answer(status=201, body=shape, headers={"location": shape["url"]}, applied=True)


def list_hooks(ask: Ask) -> Answer:
    items, links = ask.page(list(ask.repo.hooks.values()))
    return Answer(body=[told_shapes.hook(ask.world, ask.repo, each) for each in items], headers=links)


def delete_hook(ask: Ask) -> Answer:
    del ask.repo.hooks[_fetch(ask).hook_id]
    return Answer(status=204, applied=True)


def ping(ask: Ask) -> Answer:
    events.ping(ask.world, ask.repo, ask.login, _fetch(ask))
    return Answer(status=204)


def list_deliveries(ask: Ask) -> Answer:
    hook, query = _fetch(ask), ask.query
    good = {"success": True, "failure": False}.get(query.get("status", ""))
    newest = [each for each in reversed(hook.deliveries) if good in (None, 200 <= each.status_code < 400)]
    if "cursor" in query:
        if not query["cursor"].isdecimal():
            raise Refusal(400, "Invalid cursor")
        newest = [each for each in newest if each.delivery_id <= int(query["cursor"])]
    size = min(max(int(query.get("per_page", 30)), 1), 100)
    page, rest = newest[:size], newest[size:]
    links: dict[str, str] = {}
    if rest:
        following = {**query, "per_page": size, "cursor": rest[0].delivery_id}
        links["link"] = f'<{ask.url}?{urlencode(following)}>; rel="next"'
    return Answer(body=[told_shapes.delivery(each, hook) for each in page], headers=links)


def redeliver(ask: Ask) -> Answer:
    hook = _fetch(ask)
    wanted = int(ask.path["delivery_id"])
    found = next((each for each in hook.deliveries if each.delivery_id == wanted), None)
    if found is None:
        raise Refusal(404, "Not Found")
    events.again(ask.world, hook, found)
    return Answer(status=202, body={}, applied=True)


def add_hook(
    world: World,
    repo: Repository,
    *,
    url: str,
    secret: str | None,
    wanted: list[str],
    content_type: str = "json",
    active: bool = True,
) -> Hook:
    """A new hook. Refuses with 422: addresses that do not lead to this machine, for a fake reaches nothing else."""
    address = urlsplit(url)
    if address.scheme != "http" or address.hostname not in {"127.0.0.1", "localhost"}:
        raise _custom("url must lead to this machine, by http")
    if content_type not in {"json", "form"}:
        raise _custom("content_type must be json or form")
    if any((each.url, each.events) == (url, tuple(wanted)) for each in repo.hooks.values()):
        raise _custom("Hook already exists on this repository")
    if len(repo.hooks) >= _MOST:
        raise _custom(f"There can be only {_MOST} hooks for a repository")
    hook = Hook(
        hook_id=world.new_id(),
        repository_id=repo.repository_id,
        url=url,
        secret=kernel.Secret(secret) if secret else None,
        content_type=content_type,
        events=tuple(wanted),
        active=active,
        created_at=world.now(),
    )
    repo.hooks[hook.hook_id] = hook
    return hook


def _custom(message: str) -> Refusal:
    return Refusal(422, "Validation Failed", errors=[{"resource": "Hook", "code": "custom", "message": message}])


def _fetch(ask: Ask) -> Hook:
    hook = ask.repo.hooks.get(int(ask.path["hook_id"]))
    if hook is None:
        raise Refusal(404, "Not Found")
    return hook


OPERATIONS: dict[str, Handler] = {
    "repos/create-webhook": create_hook,
    "repos/list-webhooks": list_hooks,
    "repos/delete-webhook": delete_hook,
    "repos/ping-webhook": ping,
    "repos/list-webhook-deliveries": list_deliveries,
    "repos/redeliver-webhook-delivery": redeliver,
}
