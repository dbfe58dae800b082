"""Errors as exit codes, sentences and documents."""

import json

import pytest

from interlock import kernel, runs
from interlock.cli import complaint
from interlock.cli.errors import Interrupted, Usage


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (kernel.RequestError("x"), 2),
        (kernel.NotFoundError("x"), 2),
        (kernel.ConflictError("x"), 2),
        (kernel.ConfigurationError("x"), 2),
        (kernel.ConnectionError_("x"), 1),
        (kernel.ProviderError("x"), 1),
        (kernel.PlaneError("x"), 1),
        (kernel.InternalError("x"), 1),
        (kernel.UnknownOutcome("x"), 5),
        (kernel.VerificationError("x"), 6),
        (kernel.StoreError("x"), 7),
        (runs.OverBudget("x"), 3),
        (runs.RunFailed({"code": "unknown_outcome"}, run_id="run_1"), 5),
        (runs.RunFailed({"code": "rate_limited"}, run_id="run_1"), 1),
        (Interrupted("x"), 130),
    ],
)
def test_exit_codes(error: kernel.InterlockError, code: int):
    assert complaint.exit_code(error) == code


def test_people_are_told_what_with_what_and_what_next(capsys: pytest.CaptureFixture[str]):
    error = Usage("it is\nwrong \x1b[31m", run_id="run_1", next_step="Do it right.", details={"a": 1})
    complaint.complain(error, as_json=False)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "error: it is\n  wrong \\x1b[31m\nrun: run_1\nnext: Do it right.\n"
    complaint.complain(error, as_json=False, verbose=True)
    assert 'code: usage\nretry: after_change\nfault: caller\ndetails: {"a": 1}\n' in capsys.readouterr().err


def test_programs_get_the_same_on_stdout(capsys: pytest.CaptureFixture[str]):
    error = Usage("wrong \x1b[31m")
    complaint.complain(error, as_json=True)
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"error": error.to_json()}
    assert "\x1b" not in captured.out
    assert captured.err == ""


def test_a_traceback_is_for_those_who_debug(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("INTERLOCK_DEBUG", "1")
    complaint.complain(Usage("wrong"), as_json=True)
    assert "Usage: wrong" in capsys.readouterr().err
