"""`interlock connect` for services that give tokens themselves: in a browser, on another device, or to a program alone."""

import os
import shlex
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio

from interlock.cli import opening
from interlock.cli.errors import TokenMissing, Usage
from interlock.cli.text import clean
from interlock.kernel import Secret

if TYPE_CHECKING:
    from interlock import app, connections, sdk
    from interlock.cli.desk import Desk

LOOPBACK = "127.0.0.1"
"""Where the browser comes back to: this machine, by its address (RFC 8252 §7.3, §8.3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the command line says of a connection that is to be made."""

    connector: str
    profile: str | None
    fields: Sequence[str]
    secret_fields: Sequence[str]
    name: str | None
    base_url: str | None
    scopes: Sequence[str] | None
    device: bool
    browser: bool
    port: int


async def connect(desk: "Desk", wish: Wish) -> "connections.Connection":
    """Begin, have somebody agree, and end with the connection. Raises Usage, InstallFailed, and as `installs.begin`."""
    async with desk.open_here() as il:
        manifest = await il.catalog.fetch_connector_for(il.caller.tenant_id, wish.connector)
        profile = choose(manifest, wish)
        with _explained(wish, manifest, profile):
            return await _connect(il, profile, wish)


@contextmanager
def _explained(wish: Wish, manifest: "sdk.Manifest", profile: "sdk.AuthProfile") -> Generator[None]:
    """Say of what is missing how it is given."""
    from interlock import connections

    try:
        yield
    except connections.InvalidGrant as error:
        named = "" if wish.name is None else f" --name {shlex.quote(wish.name)}"
        error.next_step = f"Give what is asked for: `{line_for(wish.connector, profile, beside=manifest.auth)}{named}`."
        raise


async def _connect(il: "app.Interlock", profile: "sdk.AuthProfile", wish: Wish) -> "connections.Connection":
    from interlock import connections

    given, installs = collect(wish), il.connections.installs
    if profile.install == "paste":
        return await il.connections.connect_token(
            wish.connector,
            given,
            profile=profile.profile_id,
            name=wish.name,
            base_url=wish.base_url,
            scopes=wish.scopes,
        )
    if profile.install in ("browser", "device"):
        await installs.require_client(wish.connector)  # before anybody is led there for nothing
    start = installs.connect if profile.install in ("automatic", "cli") else installs.begin
    begun = await start(
        wish.connector,
        given,
        profile=profile.profile_id,
        name=wish.name,
        base_url=wish.base_url,
        scopes=wish.scopes,
    )
    if isinstance(begun, connections.Connection):
        return begun
    install_id = begun.install.install_id
    try:
        if profile.install == "device":
            return await _on_a_device(installs, install_id, wish)
        return await _in_a_browser(il, begun, wish)
    finally:
        with anyio.CancelScope(shield=True), suppress(connections.InstallUsed):
            await installs.cancel(install_id)  # unless it has ended


async def invite(desk: "Desk", wish: Wish) -> "connections.Invitation":
    """An install for somebody else, here or at a server. Raises Usage, and as `installs.invite`."""
    async with desk.open() as il:
        manifest = await il.catalog.fetch_connector_for(il.caller.tenant_id, wish.connector)
        profile = choose(manifest, wish)
        if profile.install != "browser":
            raise Usage(f"a link leads to a browser, and {profile.profile_id} of {wish.connector} needs none")
        with _explained(wish, manifest, profile):
            return await il.connections.installs.invite(
                wish.connector,
                collect(wish),
                profile=profile.profile_id,
                name=wish.name,
                base_url=wish.base_url,
                scopes=wish.scopes,
            )


def choose(manifest: "sdk.Manifest", wish: Wish) -> "sdk.AuthProfile":
    """The profile to connect by: the one that is named, else the only one of its kind, a browser's first. Raises Usage."""
    ways = ["browser", "device", "automatic", "cli", *(["paste"] if wish.secret_fields or wish.profile else [])]
    there = {each.profile_id: each for each in manifest.auth if each.install in ways}
    if not there:
        asking = [each for each in manifest.auth if each.install == "paste"]
        if not asking:
            raise Usage(f"{manifest.connector_id} needs no account: nothing is to be connected")
        several = [line_for(manifest.connector_id, each, beside=asking) for each in asking if len(each.fields) > 1]
        raise Usage(
            f"{manifest.connector_id} takes several fields: `{'`, or `'.join(several)}`"
            if len(several) == len(asking)
            else "name one place where the token is: --token-env NAME or --token-file FILE"
        )
    if wish.profile is not None:
        fits = [each for each in there.values() if each.profile_id == wish.profile]
    else:
        ways = ["device"] if wish.device else ways
        first = next((way for way in ways if any(each.install == way for each in there.values())), None)
        fits = [each for each in there.values() if each.install == first]
    if len(fits) != 1 or (wish.device and fits[0].install != "device"):
        known = ", ".join(f"{each.profile_id} ({each.install})" for each in there.values())
        raise Usage(f"name one auth profile of {manifest.connector_id} with --profile: {known}")
    return fits[0]


def line_for(connector_id: str, profile: "sdk.AuthProfile", *, beside: "Sequence[sdk.AuthProfile]") -> str:
    """The command that connects by the profile, with what has to be given; `beside` are all that the connector has."""
    if profile.install == "paste" and len(profile.fields) == 1:
        first = next(each for each in beside if each.install == "paste")
        named = "" if profile is first else f" --profile {profile.profile_id}"
        return f"interlock connect {connector_id}{named} --token-env NAME"
    asked = [each for each in profile.fields if not each.optional and each.default is None]
    given = [f"--secret-env {each.name}=VARIABLE" if each.secret else f"--field {each.name}=VALUE" for each in asked]
    return " ".join([f"interlock connect {connector_id} --profile {profile.profile_id}", *given])


def collect(wish: Wish) -> Mapping[str, str | Secret]:
    """The profile's fields: public ones as they stand, secret ones from the environment. Raises Usage, TokenMissing."""
    given: dict[str, str | Secret] = {**stated(wish.fields)}
    for pair in wish.secret_fields:
        name, variable = _pair(pair, "--secret-env NAME=VARIABLE")
        text = os.environ.get(variable, "").strip()
        if not text:
            raise TokenMissing(f"the environment variable for the field {name[:60]!r} is empty or not set")
        given[name] = Secret(text)
    return given


def stated(pairs: Sequence[str]) -> dict[str, str]:
    """The values of `--field NAME=VALUE`. Raises Usage."""
    return dict(_pair(each, "--field NAME=VALUE") for each in pairs)


def tell(label: str, text: str) -> None:
    """A line for the person who waits: stdout is for the answer."""
    sys.stderr.write(f"{label}: {clean(text)}\n")
    sys.stderr.flush()


async def _in_a_browser(il: "app.Interlock", begun: "connections.Begun", wish: Wish) -> "connections.Connection":
    from interlock import connections, server

    def make(port: int) -> server.ConnectPages:
        return server.ConnectPages(il, origin=f"http://{LOOPBACK}:{port}")

    async with server.serve_pages(make, host=LOOPBACK, port=wish.port) as pages:
        await _show(pages.address(begun.link), wish)
        ended = await il.connections.installs.wait(begun.install.install_id)
    if ended.reason is not None:
        raise connections.InstallFailed(wish.connector, ended.reason, issuer=ended.issuer)
    assert ended.connection_id is not None  # it was completed
    return await il.connections.fetch(ended.connection_id)


async def _on_a_device(installs: "app.Installs", install_id: str, wish: Wish) -> "connections.Connection":
    codes = await installs.start_device(install_id)
    tell("code", codes.user_code)
    await _show(codes.verification_uri_complete or codes.verification_uri, wish)
    await installs.await_device(install_id, codes)
    return await installs.complete(install_id)


async def _show(url: str, wish: Wish) -> None:
    tell("open", url)
    if wish.browser:
        await opening.open_page(url)


def _pair(text: str, form: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise Usage(f"write {form}")  # what was given may be a secret
    return name, value
