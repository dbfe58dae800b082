"""The program that commands are children of. It runs by itself, with the standard library alone.

The first process of it is the mother. For each socket that comes through the door she forks a keeper, who starts one
command after another and is a subreaper: whatever a command starts, however it forks and detaches, stays below the
keeper, who tells how the command ended only when nothing of it is left. A keeper whose socket closes kills and ends, so
nothing outlives the node; the mother does the same for the children of a keeper that was killed.

On a socket, each packet is one letter and its data:
    in   r  a JSON text (`M` if it is in the first descriptor), with the command's descriptors: run it
         g  a number: send that signal to the command's process group, or to all but the wrapper
         t  a number: send that signal to all that the command has started
         k  kill all of it
    out  e  errno, place: it does not run
         x  code, signal, largest resident set in KiB, processes that were left over: it has ended, and so has all of it
"""

import contextlib
import ctypes
import fcntl
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import termios
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

_SUBREAPER: Final = 36
_HIGH: Final = 200
_FLAGS: Final = socket.MSG_CMSG_CLOEXEC
_PACKET: Final = 262_144
_INLINE: Final = 65_536
_LISTED: Final = os.path.exists(f"/proc/self/task/{os.getpid()}/children")
"""Whether this kernel lists a process's children; else all processes are looked at."""

_PATIENCE: Final = 2.0
"""Seconds without a keeper's end, once all of them are to come to it."""


def main() -> None:
    """The mother. Its one argument is the number of the door's descriptor."""
    door = own(int(sys.argv[1]))
    woken = prepare()
    keepers: set[int] = set()
    while True:
        ready, _, _ = select.select([door, woken], [], [])
        if woken in ready:
            drain(woken)
            bury(keepers)
        if door in ready:
            _data, fds, _flags, _peer = socket.recv_fds(door, 1, 1, _FLAGS)
            if not fds:
                break
            keepers.add(fork_keeper(fds[0], without=[door.fileno()]))
    see_off(keepers, woken)


def see_off(keepers: set[int], woken: socket.socket) -> None:
    """Wait for the end of keepers whose sockets have closed, and kill what they did not."""
    while keepers:
        if not select.select([woken], [], [], _PATIENCE)[0]:
            for keeper in keepers:  # its command has stopped it
                _signal(keeper, signal.SIGKILL)
        drain(woken)
        bury(keepers)


def bury(keepers: set[int]) -> None:
    """Take note of keepers that ended, and kill what came down from one that was killed."""
    with contextlib.suppress(ChildProcessError):
        while (pid := os.waitpid(-1, os.WNOHANG)[0]) != 0:
            keepers.discard(pid)
        for pid in _children(os.getpid()):
            if pid not in keepers:
                for orphan in [pid, *_descendants(pid)]:
                    _signal(orphan, signal.SIGKILL)


def fork_keeper(control: int, *, without: Iterable[int] = ()) -> int:
    """A keeper in a process of its own, behind that descriptor, which is closed here; the descriptors `without` are
    closed there. Its process id."""
    child = os.fork()
    if child == 0:
        for fd in without:
            os.close(fd)
        Keeper(own(control)).serve()
        os._exit(0)
    os.close(control)
    return child


def hand_over(control: socket.socket, spec: Mapping[str, Any], fds: Sequence[int]) -> None:
    """Send a keeper the order `r`. Raises ConnectionError if it is gone."""
    data = json.dumps(spec, ensure_ascii=False).encode()
    with contextlib.ExitStack() as stack:
        if len(data) > _INLINE:
            memory = stack.enter_context(os.fdopen(os.memfd_create("command"), "wb"))
            memory.write(data)
            memory.flush()
            data, fds = b"M", [memory.fileno(), *fds]
        else:
            data = b"r" + data
        socket.send_fds(control, [data], fds)


class Keeper:
    """Runs one command at a time."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._woken = prepare()
        self._main = 0
        self._wrapped = False

    def serve(self) -> None:
        """Until the socket closes."""
        while packet := self._receive():
            data, fds = packet
            if data[:1] not in b"rM":
                continue  # meant for a command that has ended meanwhile
            if data[:1] == b"M":
                with os.fdopen(fds.pop(0), "rb") as file:
                    file.seek(0)
                    data = b"r" + file.read()
            if self._start(json.loads(data[1:]), fds) and not self._keep():
                return

    def _receive(self) -> tuple[bytes, list[int]] | None:
        try:
            data, fds, _flags, _peer = socket.recv_fds(self._control, _PACKET, 70, _FLAGS)
        except ConnectionError:
            return None
        return (data, fds) if data else None

    def _send(self, text: str) -> None:
        with contextlib.suppress(OSError):  # a node that is gone is seen at the next packet
            self._control.send(text.encode())

    def _start(self, spec: dict[str, Any], fds: list[int]) -> bool:
        streams, placed = _place(spec["fds"], fds)
        self._wrapped = spec["wrapped"]
        told, tell = os.pipe2(os.O_CLOEXEC)
        os.write(
            tell, b"0"
        )  # the number of an error in the child's preparation follows: `subprocess` says nothing of it
        try:
            child = subprocess.Popen(  # noqa: S603 - to start what it is told to is its task
                spec["argv"],
                executable=_find(spec["argv"][0], spec["path"]),
                cwd=spec["cwd"],
                env=spec["env"],
                stdin=streams[0],
                stdout=streams[1],
                stderr=streams[2],
                pass_fds=placed,
                start_new_session=True,
                preexec_fn=_preparation(spec, tell),  # noqa: PLW1509 - a keeper has one thread
            )
        except OSError as error:
            self._send(f"e{error.errno} {'cwd' if error.filename == spec['cwd'] else 'command'}")
            return False
        except (subprocess.SubprocessError, ValueError):
            self._send(f"e{os.read(told, 5).decode()} preparation")
            return False
        finally:
            for fd in {*streams, *placed, told, tell}:
                os.close(fd)
        self._main = child.pid
        child.returncode = 0  # whoever waits for any child must not be forestalled
        return True

    def _keep(self) -> bool:
        """Until nothing of the command is left. False if the node went away meanwhile."""
        ended: tuple[int, int] | None = None
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._woken, select.POLLIN)
        while True:
            for fd, _event in poll.poll():
                if fd == self._woken.fileno():
                    drain(self._woken)
                elif not self._obey():
                    self._kill_all()
                    return False
            try:
                while (reaped := os.wait4(-1, os.WNOHANG))[0]:
                    if reaped[0] == self._main:
                        ended = (reaped[1], reaped[2].ru_maxrss)
            except ChildProcessError:
                assert ended is not None, "the command's own end comes before the last of its children's"
                self._tell(*ended, left=0)
                return True
            if ended is not None:
                left = len(_descendants(os.getpid()))
                self._kill_all()
                self._tell(*ended, left=left)
                return True

    def _tell(self, status: int, rss: int, *, left: int) -> None:
        if os.WIFSIGNALED(status):
            self._send(f"x- {os.WTERMSIG(status)} {rss} {left}")
        else:
            self._send(f"x{os.WEXITSTATUS(status)} - {rss} {left}")

    def _obey(self) -> bool:
        packet = self._receive()
        if packet is None:
            return False
        data, _fds = packet
        kind, number = data[:1], int(data[1:] or b"0")
        if kind == b"g" and not self._wrapped:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._main, number)
        elif kind in b"gt":
            for pid in _descendants(os.getpid()):
                if not (self._wrapped and pid == self._main):
                    _signal(pid, number)
        elif kind == b"k":
            _kill_below(os.getpid())
        return True

    def _kill_all(self) -> None:
        """Kill, and wait, until there is no child."""
        while True:
            _kill_below(os.getpid())
            try:
                os.wait4(-1, 0)
                while os.wait4(-1, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                return


def _place(numbers: list[int], fds: list[int]) -> tuple[list[int], list[int]]:
    """The three streams, out of the way, and the others at their numbers."""
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _HIGH) for fd in fds]
    for fd in fds:
        os.close(fd)
    for number, fd in zip(numbers, high[3:], strict=True):
        os.dup2(fd, number, inheritable=False)
        os.close(fd)
    return high[:3], numbers


def _preparation(spec: dict[str, Any], tell: int) -> Callable[[], None] | None:
    """What the child does before it becomes the command; None keeps the quick way of starting it."""
    if not (spec["terminal"] or spec["rlimits"] or spec["groups"]):
        return None

    def prepare() -> None:
        try:
            for path in spec["groups"]:
                with open(path, "w") as file:
                    file.write("0")
            if spec["terminal"]:
                fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            for name, value in spec["rlimits"].items():
                _limit(getattr(resource, name), value)
        except OSError as error:
            os.write(tell, str(error.errno or 0).encode())
            raise

    return prepare


def _limit(kind: int, value: int) -> None:
    """For good: neither the command nor its children can raise it again."""
    highest = resource.getrlimit(kind)[1]
    value = value if highest == resource.RLIM_INFINITY else min(value, highest)
    # At the hard limit of its time a process is killed; one second earlier it gets the signal that says why.
    hard = value + 1 if kind == resource.RLIMIT_CPU and highest in (resource.RLIM_INFINITY, value + 1) else value
    resource.setrlimit(kind, (value, hard))


def _find(command: str, path: str) -> str:
    if "/" in command:
        return command
    for folder in path.split(":"):
        candidate = f"{folder}/{command}"
        if folder and os.path.isfile(candidate) and os.access(candidate, os.X_OK):
            return candidate
    raise FileNotFoundError(2, "not found", command)


def _kill_below(root: int) -> None:
    """Stop all of them first, until a look finds no new one: what is stopped does not fork."""
    seen: set[int] = set()
    while new := set(_descendants(root)) - seen:
        for pid in new:
            _signal(pid, signal.SIGSTOP)
        seen |= new
    for pid in seen:
        _signal(pid, signal.SIGKILL)


def _signal(pid: int, number: int) -> None:
    """To that very process: its number may be another's by now, but not while a descriptor stands for it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if not hasattr(os, "pidfd_open"):
            os.kill(pid, number)
            return
        fd = os.pidfd_open(pid)
        try:
            if _is_below(pid):
                signal.pidfd_send_signal(fd, number)
        finally:
            os.close(fd)


def _is_below(pid: int) -> bool:
    own = os.getpid()
    while pid > 1:
        pid = _parent(pid)
        if pid == own:
            return True
    return False


def _parent(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[1])
    except OSError:
        return 0


def _all() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def _descendants(root: int) -> list[int]:
    found: list[int] = []
    waiting = [root]
    while waiting:
        children = list(_children(waiting.pop()))
        found += children
        waiting += children
    return found


def _children(pid: int) -> Iterator[int]:
    if not _LISTED:
        yield from (child for child in _all() if _parent(child) == pid)
        return
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return
    for thread in threads:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
            for child in file.read().split():
                yield int(child)


def prepare() -> socket.socket:
    """Become a subreaper, deaf to signals that are meant for others, and woken when a child ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
    woken, waker = socket.socketpair()
    for end in (woken, waker):
        end.settimeout(0)
    kept = [own(end.detach()) for end in (woken, waker)]
    signal.set_wakeup_fd(kept[1].fileno(), warn_on_full_buffer=False)
    _KEPT.append(kept[1])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, _ignore)
    signal.signal(signal.SIGCHLD, _ignore)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    return kept[0]


_KEPT: Final[list[socket.socket]] = []


def _ignore(_number: int, _frame: object) -> None:
    """A handler, not SIG_IGN: a command would inherit that."""


def own(fd: int) -> socket.socket:
    """The socket behind the descriptor, at a number that no command asks for."""
    high = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _HIGH)
    os.close(fd)
    return socket.socket(fileno=high)


def drain(woken: socket.socket) -> None:
    with contextlib.suppress(BlockingIOError):
        while woken.recv(4096):
            pass


if __name__ == "__main__":
    main()
