"""The runner of the documentation's examples fails where a page is wrong."""

import os
from pathlib import Path

import pytest

import examples


def run(tmp_path: Path, page: str) -> int:
    path = tmp_path / "page.md"
    path.write_text(page)
    folder = tmp_path / "reader"
    folder.mkdir()
    return examples.run_page(path, folder)


def test_blocks_of_a_page_share_folder_namespace_and_shell(tmp_path: Path):
    page = """
Prose with `code`.

```text file="words/a.txt"
one
```

1. A list:

   ```python
   from pathlib import Path

   words = Path("words/a.txt").read_text().split()
   ```

```console
$ cd words
$ export GREETING="hi there"
```

```python
assert words == ["one"]
```

```console
$ cat a.txt && echo "$GREETING" \\
>   | tr a-z A-Z
one
HI THERE
$ python -c 'import sys; print(sys.prefix != sys.base_prefix)'
True
```

```json
{"shown": "only"}
```

```console skip="needs a network"
$ false
```
"""
    assert run(tmp_path, page) == 5


@pytest.mark.parametrize(
    ("page", "complaint"),
    [
        ("```console\n$ echo one\ntwo\n```", "line 2: .* echo one\nshould have said:\ntwo"),
        ("\n```console\n$ true\n$ false\n$ true\n```", "line 4: .* false\nended with 1, not 0"),
        ('```console exit="3"\n$ true\n```', "ended with 0, not 3"),
        ("```console\n$ exit 1\n```", "did not end well"),
        ("```console\noutput\n```", "output without a command"),
        ("```python\n1 + 1", "line 1: this block is never closed"),
        ('```console skip=""\n$ x\n```', "say why"),
    ],
)
def test_a_wrong_page_fails(tmp_path: Path, page: str, complaint: str):
    with pytest.raises(examples.ExampleFailed, match=complaint):
        run(tmp_path, page)


def test_an_error_in_python_names_the_line_of_the_page(tmp_path: Path):
    with pytest.raises(ZeroDivisionError) as caught:
        run(tmp_path, "Title\n\n```python\nx = 1\nx / 0\n```\n")
    assert caught.traceback[-1].lineno == 4  # counted from zero


def test_a_command_may_be_expected_to_fail_and_background_jobs_end_with_the_page(tmp_path: Path):
    assert run(tmp_path, '```console exit="3"\n$ sleep 1000 &\n$ (exit 3)\n```') == 1


def test_an_id_is_copied_from_what_was_printed_last(tmp_path: Path):
    first, last = (f"run_{digit * 32}" for digit in "12")
    page = f"""
```console
$ echo {first} apr_{"3" * 32}; echo {last}
$ echo run_… apr_… art_…
{last} apr_{"3" * 32} art_…
```
"""
    assert run(tmp_path, page) == 1


def test_a_page_that_speaks_of_it_finds_a_github(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("GITHUB_API", raising=False)
    page = """
```python
import os
import urllib.request

url, token = os.environ["GITHUB_API"] + "/user", os.environ["GITHUB_TOKEN"]
with urllib.request.urlopen(urllib.request.Request(url, headers={"authorization": f"Bearer {token}"})) as answer:
    assert answer.status == 200
```

```console
$ test "$INTERLOCK_EXECUTION__EGRESS_ALLOW" = "[\\"${GITHUB_API#http://}\\"]"
```
"""
    assert run(tmp_path, page) == 2
    assert "GITHUB_API" not in os.environ


def test_a_command_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(examples, "SECONDS", 0.2)
    with pytest.raises(examples.ExampleFailed, match="did not end well"):
        run(tmp_path, "```console\n$ sleep 1000\n```")


@pytest.mark.parametrize(
    ("expected", "output", "verdict"),
    [
        (("run run_…  completed",), "run run_0193ab  completed  \n", True),
        (("run …",), "other run\n", False),
        (("a", "…", "b"), "a\n1\n2\nb\n", True),
        (("a", "…", "b"), "a\nb\n", True),
        (("a", "…"), "a\nb\n", True),
        (("a", "…"), "a\n", True),
        (("…", "b"), "a\nb\n", True),
        (("…",), "a\nb", True),
        (("a … c",), "a\nc", False),
        (("a", "b"), "a\n\nb", False),
        (("a.b",), "axb", False),
        (("a", "…", "b"), "ab", False),
        (("a",), "a\nb", False),
    ],
)
def test_expected_output(expected: tuple[str, ...], output: str, verdict: bool):
    assert examples.matches(expected, output) is verdict
