"""Hosts by SSH: whose key is taken, how we log in, what a far shell gets to see, and that a cut connection ends all.

The server is asyncssh's, in a process of its own (`far_sshd`); the rig has OpenSSH's.
"""

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import asyncssh
import pytest

from far_places import ESCAPED, SshHost, attachment, carrier, placed_lane
from fix_process import Told, alive, begun, nothing_left, process, program, run
from interlock import plane
from interlock.adapters import lanes

pytestmark = [pytest.mark.anyio, pytest.mark.faults]

Pins = list[dict[str, Any]]

SECRETS = (
    plane.ProcessSecret(handle="token", field="token", host="api.acme.dev:443", env="TOKEN"),
    plane.ProcessSecret(handle="token", field="token", host="api.acme.dev:443", fd=3),
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[SshHost]:
    found = SshHost(tmp_path_factory.mktemp("host"))
    yield found
    found.close()


@pytest.fixture
def host(server: SshHost) -> Generator[SshHost]:
    server.took("attempts")
    server.took("asked")
    yield server
    server.wait()


async def refused(place: lanes.Place, *, by: plane.FailureClass, code: str | None = None) -> str:
    """The message of a refusal after which it is proved that nothing was sent."""
    told = await run(placed_lane(place), process("true"))
    assert told.failure is not None
    assert (told.failure.failure_class, told.code) == (by, code or by.value), told.failure
    assert (told.exchange.bytes_sent, told.exchange.answered, told.failure.effect) in [
        (0, False, "none"),
        (0, False, "depends"),
    ]
    return told.failure.message


async def test_a_far_shell_sees_one_fixed_text_and_the_command_all_that_was_meant(host: SshHost, marker: str):
    arguments = ["a b", "$HOME", "`id`", "'\"", "--", "-oProxyCommand=x", "\n", marker]
    source = (
        "import os, sys\nprint(sys.argv[1:], os.environ['A'], os.environ['TOKEN'], os.read(3, 99))\n"
        "print(sys.stdin.read())\nsys.stderr.write('wrong')\nsys.exit(7)"
    )
    intent = program(source, *arguments, env=(("A", "$(id); x"),), secrets=SECRETS, stdin=b"in" * 100_000)
    told = await run(placed_lane(host.place()), intent)
    shown = f"{arguments} $(id); x s3cr3t-value b's3cr3t-value'\n".encode() + b"in" * 100_000 + b"\n"
    assert (told.said(), told.said("stderr")) == (shown, b"wrong")
    assert (told.code, told.facts["exit_code"], told.exchange.answered) == ("exit_nonzero", 7, True)
    [asked] = host.took("asked")
    assert asked.startswith("exec python3 -I -S -c 'f=open(0")
    assert not [word for word in (marker, "s3cr3t", "$(id)", "HOME") if word in asked]
    [(_type, _at, placed), _attached] = told.exchange.notes
    assert placed == {"placement": host.place().url, "host_key": host.host_key.get_fingerprint()}
    assert told.exchange.peer == "127.0.0.1"


async def test_a_signal_and_a_terminal_are_true(host: SshHost):
    lane = placed_lane(host.place())
    killed = await run(lane, program("import os; os.kill(os.getpid(), 9)"))
    assert (killed.code, killed.facts["signal"], killed.facts["exit_code"]) == ("killed_by_signal", "SIGKILL", None)
    source = "import os\nos.write(1, b'%d %d' % os.get_terminal_size())\ninput()\nos.write(1, b'%d %d' % os.get_terminal_size())"
    intent = program(source, terminal=plane.TerminalSize(rows=30, columns=100), interactive=True)
    async with begun(lane, intent) as (told, channel):
        await channel.until(b"100 30")
        await channel.inbox.send(plane.Input(kind=plane.InputKind.RESIZE, facts={"rows": 40, "columns": 120}))
        await channel.inbox.send(plane.Input(data=b"\n"))
        await channel.until(b"120 40")
    assert told.failure is None


async def test_a_key_that_is_not_pinned_is_refused_before_we_say_who_we_are(host: SshHost, tmp_path: Path):
    other = asyncssh.generate_private_key("ssh-ed25519")
    shown = host.host_key.get_fingerprint()
    known = tmp_path / "known_hosts"
    known.write_text(f"[127.0.0.1]:{host.port} {other.export_public_key().decode()}")
    changed: Pins = [{"host_keys": (other.get_fingerprint(),)}, {"host_keys": (), "known_hosts": known}]
    for pins in changed:
        message = await refused(host.place(**pins), by=plane.FailureClass.IDENTITY_REFUSED, code="host_key_changed")
        assert shown in message
        assert other.get_fingerprint() in message
    known.write_text(f"elsewhere {host.host_key.export_public_key().decode()}")
    nothing: Pins = [{"host_keys": (), "known_hosts": known}, {"host_keys": ()}]
    for pins in nothing:
        await refused(host.place(**pins), by=plane.FailureClass.IDENTITY_REFUSED, code="host_key_unknown")
    unreadable: Pins = [{"host_keys": ("ssh-ed25519 nonsense",)}, {"known_hosts": tmp_path / "none"}]
    for pins in unreadable:
        await refused(host.place(**pins), by=plane.FailureClass.IDENTITY_REFUSED, code="host_keys_unreadable")
    assert host.took("attempts") == []


async def test_the_ways_to_pin_a_key(host: SshHost, tmp_path: Path):
    whole = host.host_key.export_public_key().decode()
    other = asyncssh.generate_private_key("ecdsa-sha2-nistp256").export_public_key().decode()
    known = tmp_path / "known_hosts"
    known.write_text(f"[127.0.0.1]:{host.port} {other}[127.0.0.1]:{host.port} {whole}")
    good: Pins = [{"host_keys": (whole.strip(),)}, {"host_keys": (), "known_hosts": known}]
    for pins in good:
        assert (await run(placed_lane(host.place(**pins)), process("true"))).failure is None
    known.write_text(f"[127.0.0.1]:{host.port} {whole}@revoked [127.0.0.1]:{host.port} {whole}")
    await refused(
        host.place(host_keys=(), known_hosts=known), by=plane.FailureClass.IDENTITY_REFUSED, code="host_key_changed"
    )


async def test_a_key_is_pinned_for_a_name_and_not_for_where_the_name_leads(host: SshHost, tmp_path: Path):
    whole = host.host_key.export_public_key().decode()
    known = tmp_path / "known_hosts"
    named = host.place(name="localhost", host_keys=(), known_hosts=known)
    by_address = [f"[127.0.0.1]:{host.port}", "127.0.0.1", "127.0.0.0/8", "elsewhere,127.0.0.1"]
    by_address += ["elsewhere,", ",elsewhere", "elsewhere,,there", "*.elsewhere,", ","]  # no name is nobody's name
    for address in by_address:
        known.write_text(f"{address} {whole}")
        await refused(named, by=plane.FailureClass.IDENTITY_REFUSED, code="host_key_unknown")
    for name in (f"[localhost]:{host.port}", "localhost,", f"elsewhere,,[localhost]:{host.port},"):
        known.write_text(f"{name} {whole}@revoked elsewhere, {whole}")
        assert (await run(placed_lane(named), process("true"))).failure is None
    for revoked in (
        f"[localhost]:{host.port} {whole}@revoked [127.0.0.1]:{host.port} {whole}",
        f"localhost {whole}[127.0.0.1]:{host.port} {whole}@revoked localhost {whole}",
    ):
        known.write_text(revoked)
        await refused(named, by=plane.FailureClass.IDENTITY_REFUSED, code="host_key_changed")


async def test_who_is_not_let_in(host: SshHost, tmp_path: Path):
    stranger = tmp_path / "stranger"
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(str(stranger))
    await refused(host.place(identity=stranger), by=plane.FailureClass.LOGIN_REFUSED)
    assert host.took("attempts") == ["me"]
    locked = tmp_path / "locked"
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(str(locked), passphrase="x", format_name="pkcs8-pem")
    for identity in (locked, tmp_path / "none", tmp_path / "authorized"):
        await refused(
            host.place(identity=identity), by=plane.FailureClass.CREDENTIAL_UNAVAILABLE, code="identity_unreadable"
        )


async def test_where_nobody_listens_and_where_nobody_speaks(host: SshHost):
    async with carrier(f"127.0.0.1:{host.port}") as way:
        port = way.port
        way.stalled = True
        await refused(
            host.place(port=port, connect_seconds=0.3), by=plane.FailureClass.CONNECT_TIMEOUT, code="ssh_timeout"
        )
    await refused(host.place(port=port), by=plane.FailureClass.CONNECT_FAILED)
    await refused(host.place(port=port, addresses=plane.AddressPolicy()), by=plane.FailureClass.ADDRESS_REFUSED)


@pytest.mark.parametrize(
    ("user", "code", "says"),
    [
        ("bare", "far_side_without_python", "has no python3"),
        ("chatty", "far_side_not_started", "did not start our program"),
        ("nobody", "far_side_not_started", "no shells here"),
    ],
)
async def test_a_far_side_that_does_not_start_our_program(host: SshHost, user: str, code: str, says: str):
    message = await refused(host.place(user=user), by=plane.FailureClass.LAUNCH_FAILED, code=code)
    assert says in message


async def test_a_cut_connection_ends_all_that_ran_there(host: SshHost, marker: str):
    async with carrier(f"127.0.0.1:{host.port}") as way:
        async with escaped(placed_lane(host.place(port=way.port)), marker) as told:
            way.cut()
        assert told.failure is not None
        assert (told.failure.failure_class, told.code) == (plane.FailureClass.PEER_LOST, "link_lost")
        assert not told.exchange.answered
        while alive(marker):
            await anyio.lowlevel.checkpoint()


async def test_a_cancelled_command_ends_with_all_its_children(host: SshHost, marker: str):
    with nothing_left():
        with anyio.CancelScope() as scope:
            async with escaped(placed_lane(host.place()), marker):
                scope.cancel()
        assert alive(marker) == []
        host.wait()


async def test_credentials_go_only_where_the_posture_lets_them(host: SshHost):
    mute = attachment("there", kind=plane.PostureKind.NO_CREDENTIAL)
    told = await run(placed_lane(host.place(), attachment=mute), process("true", secrets=SECRETS))
    assert (told.code, told.exchange.bytes_sent) == ("target_posture_forbids_credentials", 0)
    assert host.took("attempts") == []


@asynccontextmanager
async def escaped(lane: plane.Lane, marker: str) -> AsyncGenerator[Told]:
    """While a command runs there that has detached a grandchild."""
    async with begun(lane, program(ESCAPED, marker)) as (told, channel):
        await channel.until(b"away")
        assert len(alive(marker)) == 2
        yield told
