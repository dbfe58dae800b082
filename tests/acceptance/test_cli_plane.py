"""`interlock plane`: the execution plane by itself, from the command line."""

import json
import socket
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from far_places import agent
from fix_cli import Shell, in_time_for
from fix_tls import certificate, private_key
from http2_peer import hypercorn
from interlock import plane

pytestmark = pytest.mark.faults
SYSTEM = [part for path in ("/usr", "/bin", "/lib", "/lib64") if Path(path).exists() for part in ("--read", path)]


def test_output_and_exit_code_are_passed_on_as_they_are(bare_shell: Shell) -> None:
    told = bare_shell.spawn("plane", "run", "--", "/bin/sh", "-c", "cat; echo wrong >&2; exit 7", stdin="one\ntwo")
    assert (told.code, told.out, told.err) == (7, "one\ntwo", "wrong\n")


def test_a_death_by_signal_is_told_as_a_shell_does(bare_shell: Shell) -> None:
    assert bare_shell.run("plane", "run", "--", "/bin/sh", "-c", "kill -9 $$").code == 137


def test_the_environment_is_what_was_listed(bare_shell: Shell) -> None:
    told = bare_shell.run("plane", "run", "--json", "--env", "LAMP=green", "--", "/usr/bin/env").json
    assert told["stdout"] == "LAMP=green\n"
    assert told["receipt"]["facts"]["exit_code"] == 0
    assert told["receipt"]["target_class"] == "local-process"


def test_too_long_is_an_error_of_its_own(bare_shell: Shell) -> None:
    script = ("/bin/sh", "-c", "echo begun; exec sleep 600")
    seconds, told = in_time_for(
        lambda seconds: bare_shell.run("plane", "run", "--timeout", seconds, "--json", "--", *script),
        lambda told: "stdout" in told.json,
    )
    assert told.code == 124
    assert told.error["message"] == f"not done within {seconds} seconds"
    assert "--timeout" in told.error["next_step"]
    assert told.error["details"]["failure_class"] == "total_timeout"
    assert told.json["stdout"] == "begun\n"
    assert told.json["receipt"]["facts"]["signal"] == "SIGTERM"


@pytest.mark.parametrize("sandbox", [None, plane.LOCAL_LANDLOCK])
def test_the_time_counts_from_the_start(bare_shell: Shell, sandbox: str | None) -> None:
    """The probe of the target is part of it, and leaves nothing when it is cut short."""
    confined = () if sandbox is None else ("--sandbox", sandbox, "--read", "/usr")
    told = bare_shell.run("plane", "run", "--timeout", "0.02", *confined, "--json", "--", "/usr/bin/true")
    assert told.code == 124
    assert told.error["message"].startswith("not done within 0.02 seconds: ")
    assert told.json["receipt"] is None


def test_a_command_that_is_not_there(bare_shell: Shell) -> None:
    told = bare_shell.run("plane", "run", "--json", "--", "/no/such/command")
    assert told.code == 127
    assert told.error["details"]["failure_class"] == "launch_failed"
    assert told.json["receipt"]["delivery"] == "not_sent"


def test_a_file_that_is_no_command(bare_shell: Shell) -> None:
    told = bare_shell.run("plane", "run", "--", "/etc/passwd")
    assert (told.code, told.out) == (126, "")
    assert told.err.startswith("error: the command cannot be used: Permission denied\nnext: ")


def test_a_sandbox_keeps_the_command_inside(bare_shell: Shell, tmp_path: Path) -> None:
    listed = {each["target_id"]: each for each in bare_shell.good("plane", "targets", "--probe")["targets"]}
    landlock = listed["local-landlock"]
    if landlock["health"] != "ready":
        pytest.skip(f"no Landlock here: {landlock['reason']}")
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    script = f"echo yes > {inside}/file; echo no > {outside}"
    told = bare_shell.run(
        "plane", "run", "--sandbox", "local-landlock", *SYSTEM, "--write", str(inside), "--", "/bin/sh", "-c", script
    )
    assert told.code != 0
    assert (inside / "file").read_text() == "yes\n"
    assert not outside.exists()


SHOW = ("/bin/sh", "-c", "echo $TOKEN $OTHER; tr '\\0' ' ' < /proc/$PPID/cmdline; tr '\\0' ' ' < /proc/self/cmdline")


@pytest.mark.parametrize("where", ["here", "guest"])
def test_secrets_come_from_a_variable_or_a_file(bare_shell: Shell, tmp_path: Path, where: str) -> None:
    """And stand in no argument, no record and no settings."""
    (tmp_path / "secret").write_text("s3cr3t-of-a-file\n")
    given = ("--secret", "TOKEN", "--secret", f"OTHER={tmp_path}/secret")
    environment = {"TOKEN": "s3cr3t-of-a-variable"}
    with ExitStack() as stack:
        if where == "guest":
            guest = stack.enter_context(agent(tmp_path))
            places = [{"url": guest.url, "token": str(guest.token)}]
            given = (*given, "--placement", guest.url)
            environment["INTERLOCK_EXECUTION__PLACES"] = json.dumps(places)
        told = bare_shell.run("plane", "run", "--json", *given, "--", *SHOW, environment=environment).json
    assert told["stdout"].startswith("s3cr3t-of-a-variable s3cr3t-of-a-file\n")
    assert told["stdout"].count("s3cr3t") == 2
    assert "s3cr3t" not in json.dumps(told["receipt"])


def test_limits_hold_without_a_sandbox_too(bare_shell: Shell) -> None:
    script = "ulimit -n; ulimit -t; ulimit -v; ulimit -f"
    limits = ("--files", "64", "--cpu", "7", "--address-space", "1G", "--file-size", "64K")
    told = bare_shell.run("plane", "run", *limits, "--", "/bin/bash", "-c", script)
    assert (told.code, told.out.split()) == (0, ["64", "7", str(2**20), "64"])


def test_limits_of_all_processes_hold_or_are_refused(bare_shell: Shell) -> None:
    script = ("--", "/bin/sh", "-c", "sleep 0.1 & sleep 0.1 & sleep 0.1 & wait")
    told = bare_shell.run("plane", "run", "--json", "--memory", "512M", "--processes", "3", *script)
    if told.code == 125:  # no control groups that we may write
        assert told.error["message"] == "local-process cannot enforce here: processes, total-memory"
    else:
        assert (told.code, "fork" in told.json["stderr"]) == (2, True)


def test_listed_hosts_are_refused_where_they_cannot_be_held(bare_shell: Shell) -> None:
    told = bare_shell.run(
        "plane", "run", "--json", "--sandbox", "local-landlock", "--host", "a.dev:443", "--", "/bin/id"
    )
    assert told.error["details"]["failure_class"] in ("sandbox_unenforceable", "target_unavailable"), told


def test_every_place_says_what_was_shown_or_why_not(bare_shell: Shell) -> None:
    listed = bare_shell.good("plane", "targets")["targets"]
    assert {each["target_id"] for each in listed} >= {"local-process", "local-landlock", "container-gvisor"}
    assert all(each["health"] == "unavailable" and each["reason"] for each in listed), "nothing is claimed unproved"


def test_a_request_and_its_status(bare_shell: Shell) -> None:
    url = bare_shell.service.url
    told = bare_shell.run("plane", "http", "GET", f"{url}/repos/acme/rocket", "-H", "User-Agent: tests", "-v")
    assert "401" in told.err
    assert told.code == 1
    document = bare_shell.run("plane", "http", "GET", f"{url}/zen", "-H", "User-Agent: tests", "--json").json
    assert document["receipt"]["delivery"] == "responded"


def test_a_request_by_http_2_under_tls_of_ones_own(bare_shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "client").mkdir()
    server, client = certificate(tmp_path, "service.example"), certificate(tmp_path / "client", "me.example")
    key = tmp_path / "client.key"
    key.write_text(private_key(client))
    with hypercorn(server, clients=client) as host:
        allow = {"INTERLOCK_EXECUTION__EGRESS_ALLOW": json.dumps([host])}
        believe = ("--cacert", str(server), "--server-name", "service.example")
        us = ("--cert", str(client), "--key", str(key), "--tls-min", "1.3")
        request = ("plane", "http", "GET", f"https://{host}/", *believe)
        told = bare_shell.run(*request, *us, "--http2", "--json", environment=allow).json
        plain = bare_shell.run(*request, *us, "--json", environment=allow).json
        stranger = bare_shell.run(*request, "--json", environment=allow)
        unfit = bare_shell.run(*request, "--cert", str(client), "--key", str(server), "--json", environment=allow)
    assert (told["body"], plain["body"]) == ("HTTP/2 GET 0", "HTTP/1.1 GET 0")
    assert told["receipt"]["facts"]["http_version"] == "2"
    assert told["receipt"]["facts"]["tls_version"] == "TLSv1.3"
    assert stranger.code == 125
    assert (unfit.code, unfit.error["details"]["failure_code"]) == (125, "client_key_unfit")
    assert "--key" in unfit.error["next_step"]
    assert "PRIVATE" not in json.dumps(told)


def test_http_2_without_tls_is_known_before(bare_shell: Shell) -> None:
    with hypercorn() as host:
        allow = {"INTERLOCK_EXECUTION__EGRESS_ALLOW": json.dumps([host])}
        told = bare_shell.run("plane", "http", "GET", f"http://{host}/", "--http2", environment=allow)
    assert (told.code, told.out) == (0, "HTTP/2 GET 0")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--cert", "FILE"), "--cert and --key go together"),
        (("--cacert", "FILE"), "no certificate"),
        (("--cacert", "none"), "cannot read"),
        (("--tls-min", "1.1"), "--tls-min: "),
        (("--server-name", "No Name"), "--server-name: 'No Name' is not"),
    ],
)
@pytest.mark.parametrize("request_", [("http", "GET", "https://127.0.0.1:9/"), ("ws", "wss://127.0.0.1:9/")])
def test_tls_that_cannot_be_spoken(
    bare_shell: Shell, tmp_path: Path, request_: tuple[str, ...], options: tuple[str, str], words: str
) -> None:
    (tmp_path / "file").write_text("nothing")
    told = bare_shell.run("plane", *request_, options[0], options[1].replace("FILE", str(tmp_path / "file")))
    assert (told.code, words in told.err) == (2, True), told.err


def test_a_private_address_is_refused_unless_it_is_allowed(bare_shell: Shell) -> None:
    told = bare_shell.run("plane", "http", "GET", "http://127.0.0.1:9/", "--json")
    assert told.code == 125
    assert told.json["receipt"]["delivery"] == "not_sent"
    assert told.error["details"]["failure_class"] == "address_refused"


def test_a_command_runs_in_a_guest_of_the_settings(bare_shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(bare_shell.run("plane", "guest-agent").out)
    with agent(tmp_path) as guest:
        place = {"url": guest.url, "token": str(guest.token)}
        settings = {"INTERLOCK_EXECUTION__PLACES": json.dumps([place])}
        script = ("--", "/bin/sh", "-c", "pwd; cat; echo wrong >&2; exit 7")
        told = bare_shell.spawn("plane", "run", "--placement", guest.url, *script, stdin="in", environment=settings)
        assert (told.code, told.out, told.err) == (7, "/\nin", "wrong\n")
        listed = bare_shell.good("plane", "targets", "--probe", environment=settings)["targets"][-1]
        assert (listed["target_id"], listed["health"]) == (guest.url, "ready")
        assert listed["attestation"]["target_class"] == "guest-bridge"
        guest.token.write_text("x" * 32)
        told = bare_shell.run("plane", "run", "--json", "--placement", guest.url, *script, environment=settings)
        assert (told.code, told.error["details"]["failure_class"]) == (125, "login_refused")


def test_a_place_that_does_not_answer_is_waited_for_as_long_as_for_all_of_it(bare_shell: Shell, tmp_path: Path) -> None:
    token, path = tmp_path / "token", tmp_path / "silent"
    token.write_text("x" * 32)
    token.chmod(0o600)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(path))
        silent.listen()
        place = {"url": f"guest+unix://{path}", "token": str(token)}
        settings = {"INTERLOCK_EXECUTION__PLACES": json.dumps([place])}
        begun = time.monotonic()
        told = bare_shell.run(
            "plane", "run", "--json", "--timeout", "0.3", "--placement", place["url"], "--", "id", environment=settings
        )
    assert time.monotonic() - begun < 4
    assert (told.code, told.error["details"]["failure_class"]) == (124, "total_timeout")
    assert told.error["message"].startswith("not done within 0.3 seconds: ")
    assert "was not reached, and nothing was begun there" in told.error["message"]


def test_a_place_that_the_settings_do_not_list_is_not_gone_to(bare_shell: Shell) -> None:
    told = bare_shell.run("plane", "run", "--json", "--placement", "ssh://me@127.0.0.1:9", "--", "id")
    assert (told.code, told.error["code"]) == (2, "unknown_place")
    assert "execution.places" in told.error["next_step"]


@pytest.mark.parametrize(
    "place",
    [
        {"url": "ssh://me@a.dev"},
        {"url": "ssh://me@a.dev", "identity": "key"},
        {"url": "ssh://me@a.dev", "identity": "key", "known_hosts": "k", "token": "t"},
        {"url": "ssh://a.dev", "identity": "key", "known_hosts": "k"},
        {"url": "ssh://-oProxyCommand=x@a.dev", "identity": "key", "known_hosts": "k"},
        {"url": "guest://a.dev", "token": "t"},
        {"url": "guest+unix:///s"},
        {"url": "guest+unix:///s", "token": "t", "host_keys": ["SHA256:x"]},
        {"url": "https://a.dev/", "token": "t"},
    ],
)
def test_a_place_without_what_proves_it_is_no_setting(bare_shell: Shell, place: dict[str, object]) -> None:
    told = bare_shell.run("plane", "targets", environment={"INTERLOCK_EXECUTION__PLACES": json.dumps([place])})
    assert (told.code, "EXECUTION__PLACES: [0]" in told.err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "--sandbox", "local-landlock", "--placement", "ssh://me@a.dev", "--", "id"], "for nodes only"),
        (["run", "--sandbox", "ssh-pinned", "--", "id"], "ssh-pinned is somewhere else: name it with --placement"),
        (["run", "--sandbox", "local-lanlock", "--", "id"], "did you mean local-landlock?"),
        (["run", "--read", "/usr", "--", "id"], "confine nothing without a sandbox"),
        (["run", "--sandbox", "local-process", "--write", "/tmp", "--", "id"], "confine nothing without a sandbox"),
        (
            ["run", "--sandbox", "local-landlock", "--read", "/nonexist", "--", "id"],
            "--read /nonexist: there is no such",
        ),
        (["run", "--sandbox", "local-landlock", "--read", "", "--", "id"], "--read: the path is empty"),
        (["run", "--identity", "keys", "--", "id"], "--identity is for a node: name it with --placement"),
        (["run", "--env", "NOVALUE", "--", "id"], "write NAME=VALUE"),
        (["run", "--env", "=x", "--", "id"], "--env: '' is not a variable's name: letters, digits and _"),
        (["run", "--env", "A=1", "--env", "A=2", "--", "id"], "a variable or a descriptor is given twice"),
        (["run", "--sandbox", "local-landlock", "--host", "no port", "--", "id"], "--host: 'no port' is not HOST:PORT"),
        (["run", "--sandbox", "local-process", "--host", "acme.dev:443", "--", "id"], "confine nothing without"),
        (["run", "--secret", "NO_SUCH_VARIABLE", "--", "id"], "there is no such variable here"),
        (["run", "--secret", "no name=/dev/null", "--", "id"], "is no name of a variable"),
        (["run", "--secret", "A=/dev/null", "--secret", "A=/dev/null", "--", "id"], "is given twice"),
        (
            ["run", "--secret", "A=/dev/null", "--placement", "https://127.0.0.1:9", "--", "id"],
            "redeems secrets by itself",
        ),
        (["run", "--", ""], "the command: the command itself is empty"),
        (["run", "--memory", "2 GB", "--", "id"], "--memory '2 GB': write a number of bytes, or of 1024s"),
        (["run", "--memory", "", "--", "id"], "--memory '': write a number"),
        (["run", "--memory", "1K", "--", "id"], "--memory: Input should be greater than or equal to 1048576"),
        (["run", "--files", "1", "--", "id"], "--files: Input should be greater than or equal to 8"),
        (["run", "--processes", "0", "--cpu", "-1", "--", "id"], "--cpu: Input should be greater"),
        (["run", "--receipt", "no/such/folder/file", "--", "id"], "there is no folder no/such/folder"),
        (["run"], "Missing argument 'COMMAND'"),
        (["http", "FETCH", "http://a.example/"], "METHOD: "),
        (["http", "GET", "a.example"], "URL 'a.example': it begins with http:// or https://"),
        (["http", "GET", "http://a.example/#x"], "what stands after a # is never sent"),
        (["http", "GET", "http://me:x@a.example/"], "no place for credentials"),
        (["http", "GET", "http://a.example/a b"], "the character ' ' cannot stand in it"),
        (["http", "GET", "http://a.example/", "-H", "no colon"], "write NAME:VALUE"),
        (["http", "GET", "http://a.example/", "-H", "Bad Name: x"], "--header: 'Bad Name' is not a header name"),
        (["ws", "http://a.example/"], "it begins with ws:// or wss://"),
        (["schemas", "recept"], "did you mean receipt?"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(bare_shell: Shell, arguments: list[str], said: str) -> None:
    group, *rest = arguments
    told = bare_shell.run("plane", group, "--json", *rest)
    assert told.code == 2
    assert said in told.error["message"]
    assert "pattern" not in told.error["message"]
    assert told.error["code"] == ("file_refused" if "folder" in said else "usage")


def test_a_usage_error_shows_the_usage(bare_shell: Shell) -> None:
    told = bare_shell.run("plane", "http", "--json", "GET", "a.example")
    assert told.error["details"]["usage"].startswith("interlock plane http")


def test_paths_start_where_one_is(bare_shell: Shell) -> None:
    (bare_shell.folder / "inside").mkdir()
    assert bare_shell.run("plane", "run", "--cwd", "inside", "--", "/bin/pwd").out == f"{bare_shell.folder}/inside\n"


def test_a_url_is_read_as_people_write_it(bare_shell: Shell) -> None:
    url = bare_shell.service.url.replace("http", "HTTP")
    told = bare_shell.run("plane", "http", "GET", url, "-H", "User-Agent: tests")
    assert (told.code, told.err) == (1, "status 401\n")


def test_what_came_out_is_kept_whole(bare_shell: Shell) -> None:
    script = "head -c 9000000 /dev/zero; echo wrong >&2"
    kept = bare_shell.run("plane", "run", "--json", "--", "/bin/sh", "-c", script).json
    assert (len(kept["stdout"]), kept["stdout_truncated"], kept["stderr"]) == (8_388_608, True, "wrong\n")
    assert "stderr_truncated" not in kept
    options = ("-o", "output", "--receipt", "receipt.json", "--json")
    told = bare_shell.run("plane", "run", *options, "--", "/bin/sh", "-c", script).json
    assert (bare_shell.folder / "output").read_bytes() == bytes(9_000_000)
    assert ("stdout" in told, told["stderr"]) == (False, "wrong\n")
    assert json.loads((bare_shell.folder / "receipt.json").read_text()) == told["receipt"]
    again = bare_shell.run("plane", "run", *options, "--", "/bin/touch", "done")
    assert (again.code, again.error["code"]) == (2, "file_refused")
    assert not (bare_shell.folder / "done").exists()


def test_what_is_no_text_is_told_as_base64(bare_shell: Shell) -> None:
    told = bare_shell.run("plane", "run", "--json", "--", "/usr/bin/printf", r"\377\n").json
    assert ("stdout" in told, told["stdout_base64"]) == (False, "/wo=")


def test_the_contracts_are_shown_as_schemas(bare_shell: Shell) -> None:
    known = bare_shell.good("plane", "schemas")
    assert {"interlock.receipt/v1", "interlock.process-intent/v1", "interlock.route/v1"} <= set(known)
    assert bare_shell.good("plane", "schemas", "receipt") == known["interlock.receipt/v1"]


def test_the_node_of_this_process_is_described(bare_shell: Shell) -> None:
    node = bare_shell.good("node", "describe")
    assert {"http", "sse", "websocket", "local-process"} <= {lane["lane_id"] for lane in node["lanes"]}
    assert all(each["reason"] for each in node["targets"] if each["health"] != "ready")
