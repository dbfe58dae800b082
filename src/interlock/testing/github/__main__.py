"""The service as a process: `python -m interlock.testing.github --token T`. SIGTERM or SIGINT stops it."""

import argparse
import json
import os
import signal
import sys
from pathlib import Path
from types import FrameType

import anyio

from interlock import kernel
from interlock.testing.github.fake import Setup, Token
from interlock.testing.github.server import Server, listen, new_secret


def main(arguments: list[str] | None = None) -> int:
    """Serve until a signal comes."""
    options = _parser().parse_args(arguments)
    given = os.environ.get("INTERLOCK_TESTING_CONTROL_SECRET")
    secret = kernel.Secret(given) if given else new_secret()
    sock, url = listen(options.port)

    def announce() -> None:
        if options.state_file:
            _write_state(options.state_file, {"url": url, "control_secret": secret.reveal(), "pid": os.getpid()})
        sys.stdout.write(f"{url}\n")
        sys.stdout.flush()

    tokens = dict(text.partition("=")[::2] for text in options.token)
    setup = Setup(
        tokens={token: Token(login or "octo-agent") for token, login in tokens.items()},
        repos=options.repo or ["acme/rocket"],
        clock=kernel.SystemClock(),
        rate_limit=options.rate_limit,
        check_answers=options.check_answers,
        issues=options.issue,
    )
    # uvicorn raises the signal again once it has stopped; by then it has done its work.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _nothing_more)
    anyio.run(Server(setup, url=url, secret=secret, on_ready=announce).serve, [sock])
    return 0


def _nothing_more(number: int, frame: FrameType | None) -> None:
    """The signal has been answered already."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m interlock.testing.github", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument(
        "--token", action="append", required=True, metavar="T[=LOGIN]", help="login octo-agent if left out"
    )
    parser.add_argument("--repo", action="append", metavar="OWNER/NAME", help="acme/rocket if left out")
    parser.add_argument(
        "--issue", action="append", default=[], metavar="TITLE", help="an open issue of the first repository"
    )
    parser.add_argument("--state-file", type=Path, help="gets url, control_secret and pid as JSON, mode 0600")
    parser.add_argument("--rate-limit", type=int, default=5000, help="requests per token and hour")
    parser.add_argument("--check-answers", action="store_true", help="answers too must be as GitHub describes them")
    return parser


def _write_state(path: Path, state: dict[str, object]) -> None:
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.touch(mode=0o600)
    draft.write_text(json.dumps(state))
    draft.replace(path)  # readers see all of it or nothing


if __name__ == "__main__":
    sys.exit(main())
