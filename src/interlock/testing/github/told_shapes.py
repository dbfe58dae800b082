"""How webhooks, their deliveries and releases look."""

from interlock.testing.github.hooks import Delivery, Hook
from interlock.testing.github.shapes import WEB, Shape, node_id, user
from interlock.testing.github.world import Release, Repository, World, timestamp


def hook(world: World, repo: Repository, item: Hook) -> Shape:
    """A webhook; its secret is never shown again."""
    url = f"{world.url}/repos/{repo.full_name}/hooks/{item.hook_id}"
    last = next((each for each in reversed(item.deliveries) if each.status_code), None)
    return {
        "type": "Repository",
        "id": item.hook_id,
        "name": "web",
        "active": item.active,
        "events": list(item.events),
        "config": {
            "content_type": item.content_type,
            "insecure_ssl": "0",
            "url": item.url,
            **({"secret": "********"} if item.secret else {}),
        },
        "updated_at": timestamp(item.created_at),
        "created_at": timestamp(item.created_at),
        "url": url,
        "test_url": f"{url}/test",
        "ping_url": f"{url}/pings",
        "deliveries_url": f"{url}/deliveries",
        "last_response": {
            "code": last.status_code if last else None,
            "status": "unused" if last is None else "active" if last.status == "OK" else "misconfigured",
            "message": last.status if last else None,
        },
    }


def delivery(item: Delivery, owner: Hook) -> Shape:
    """One try to tell a hook."""
    return {
        "id": item.delivery_id,
        "guid": item.guid,
        "delivered_at": timestamp(item.delivered_at),
        "redelivery": item.redelivery,
        "duration": item.seconds,
        "status": item.status,
        "status_code": item.status_code,
        "event": item.event,
        "action": item.action,
        "installation_id": None,
        "repository_id": owner.repository_id,
    }


def release(world: World, repo: Repository, item: Release) -> Shape:
    """A release without files."""
    base = f"{world.url}/repos/{repo.full_name}"
    url, at = f"{base}/releases/{item.release_id}", timestamp(item.created_at)
    return {
        "url": url,
        "assets_url": f"{url}/assets",
        "upload_url": f"{url}/assets{{?name,label}}",
        "html_url": f"{WEB}/{repo.full_name}/releases/tag/{item.tag}",
        "id": item.release_id,
        "node_id": node_id("Release", item.release_id),
        "tag_name": item.tag,
        "target_commitish": repo.default_branch,
        "name": item.tag,
        "body": "",
        "draft": False,
        "prerelease": False,
        "immutable": False,
        "author": user(world, item.login),
        "created_at": at,
        "updated_at": at,
        "published_at": at,
        "assets": [],
        "tarball_url": f"{base}/tarball/{item.tag}",
        "zipball_url": f"{base}/zipball/{item.tag}",
    }
