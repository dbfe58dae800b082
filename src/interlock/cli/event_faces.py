"""The part of the facade that is about events: which start work here, and who is told of them (see `facade`)."""

from collections.abc import Awaitable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, Protocol

from interlock import sdk, subscriptions, triggers
from interlock.kernel import JSON, Secret


class RoutesFace(Protocol):
    """As `app.Routes`, but for installs of an app."""

    def create(
        self,
        connector: str,
        *,
        on: Sequence[triggers.webhooks.Wanted] = (),
        connection: str | None = None,
        secret: Secret | None = None,
        verification: Mapping[str, Any] | None = None,
        unsigned: bool = False,
        dedupe_seconds: int | None = None,
        resolve: Sequence[str] = (),
    ) -> Awaitable[triggers.webhooks.NewRoute]: ...
    def list(
        self, *, connector: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> Awaitable[Sequence[triggers.webhooks.Route]]: ...
    def fetch(self, route_id: str) -> Awaitable[triggers.webhooks.Route]: ...
    def rotate(
        self, route_id: str, *, secret: Secret | None = None, overlap: float = 86_400.0
    ) -> Awaitable[triggers.webhooks.NewRoute]: ...
    def disable(self, route_id: str) -> Awaitable[triggers.webhooks.Route]: ...
    def enable(self, route_id: str) -> Awaitable[triggers.webhooks.Route]: ...
    def revoke(self, route_id: str) -> Awaitable[triggers.webhooks.Route]: ...


class TriggersFace(Protocol):
    """As `app.Triggers`."""

    def list(
        self, *, route_id: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> Awaitable[Sequence[triggers.webhooks.Trigger]]: ...
    def fetch(self, trigger_id: str) -> Awaitable[triggers.webhooks.Trigger]: ...
    def enable(self, trigger_id: str, *, retry: sdk.Retries | None = None) -> Awaitable[triggers.webhooks.Trigger]: ...
    def disable(self, trigger_id: str) -> Awaitable[triggers.webhooks.Trigger]: ...
    def test(
        self, trigger_id: str, content: bytes, *, headers: Mapping[str, str] | None = None
    ) -> Awaitable[Mapping[str, JSON]]: ...


class DeliveriesFace(Protocol):
    """As `app.Deliveries`."""

    def list(
        self,
        *,
        route_id: str | None = None,
        states: Sequence[triggers.webhooks.DeliveryState] = (),
        cursor: str | None = None,
        limit: int = 50,
    ) -> Awaitable[Sequence[triggers.webhooks.Delivery]]: ...
    def fetch(self, delivery_id: str) -> Awaitable[triggers.webhooks.Delivery]: ...
    def replay(self, delivery_id: str) -> Awaitable[triggers.webhooks.Delivery]: ...


class SchedulesFace(Protocol):
    """As `app.Schedules`."""

    def create(
        self,
        name: str,
        *,
        cron: str | None = None,
        zone: str = "UTC",
        every: float | None = None,
        at: datetime | None = None,
        handler: str | None = None,
        capability: str | None = None,
        input: Mapping[str, JSON] | None = None,  # noqa: A002 - the domain's word
        connection: str | None = None,
        priority: triggers.schedules.Priority = "normal",
        catch_up: Literal["skip", "one", "all"] = "one",
        cap: int = 10,
    ) -> Awaitable[triggers.schedules.Schedule]: ...
    def fetch(self, schedule: str) -> Awaitable[triggers.schedules.Schedule]: ...
    def list(
        self, *, cursor: str | None = None, limit: int = 100
    ) -> Awaitable[Sequence[triggers.schedules.Schedule]]: ...
    def preview(self, schedule: str, *, limit: int = 5) -> Awaitable[Sequence[datetime]]: ...
    def pause(self, schedule: str) -> Awaitable[triggers.schedules.Schedule]: ...
    def resume(self, schedule: str) -> Awaitable[triggers.schedules.Schedule]: ...
    def delete(self, schedule: str) -> Awaitable[triggers.schedules.Schedule]: ...


class PollsFace(Protocol):
    """As `app.Polls`."""

    def create(
        self,
        name: str,
        trigger: str,
        *,
        handler: str,
        connection: str | None = None,
        config: Mapping[str, JSON] | None = None,
        every: float | None = None,
        since: datetime | None = None,
        priority: Literal["low", "normal", "high"] = "normal",
        retry: sdk.Retries | None = None,
    ) -> Awaitable[triggers.polling.Poll]: ...
    def fetch(self, poll: str) -> Awaitable[triggers.polling.Poll]: ...
    def list(self, *, cursor: str | None = None, limit: int = 100) -> Awaitable[Sequence[triggers.polling.Poll]]: ...
    def pause(self, poll: str) -> Awaitable[triggers.polling.Poll]: ...
    def resume(self, poll: str) -> Awaitable[triggers.polling.Poll]: ...
    def delete(self, poll: str) -> Awaitable[triggers.polling.Poll]: ...


class SubscriptionsFace(Protocol):
    """As `app.Subscriptions`."""

    def create(
        self,
        url: str,
        types: Sequence[str],
        *,
        capabilities: Sequence[str] = (),
        connections: Sequence[str] = (),
        signature: str = "v1",
    ) -> Awaitable[subscriptions.Keyed]: ...
    def list(
        self, *, cursor: str | None = None, limit: int = 100
    ) -> Awaitable[Sequence[subscriptions.Subscription]]: ...
    def fetch(self, subscription_id: str) -> Awaitable[subscriptions.Subscription]: ...
    def pause(self, subscription_id: str, *, reason: str = "") -> Awaitable[subscriptions.Subscription]: ...
    def resume(self, subscription_id: str) -> Awaitable[subscriptions.Subscription]: ...
    def rotate(self, subscription_id: str, *, overlap: float = 86_400.0) -> Awaitable[subscriptions.Keyed]: ...
    def delete(self, subscription_id: str) -> Awaitable[None]: ...
    def test(self, subscription_id: str) -> Awaitable[subscriptions.Sent]: ...
    def deliveries(
        self,
        subscription_id: str,
        *,
        state: subscriptions.MessageState | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Awaitable[Sequence[subscriptions.Message]]: ...
    def redeliver(self, message_id: str) -> Awaitable[subscriptions.Message]: ...
