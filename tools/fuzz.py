"""Fuzz all that reads bytes from outside, led by coverage (Atheris): `make fuzz`, or `make fuzz ARGS="url packet"`.

Each reader of `tests/readers*.py` gets `FUZZ_SECONDS` (20) in a process of its own, and begins with its seeds. An input that
shows a fault is left in `tests/faulty_inputs/NAME/`, where the ordinary tests try it from then on: mend the reader, and
commit both.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1] / "tests"
SECONDS = int(os.environ.get("FUZZ_SECONDS", "20"))
LONGEST = 16_384
"""Bytes of an input; a review packet has some ten thousand."""


def readers() -> dict[str, Any]:
    """By name. They are of the tests, which are no package."""
    sys.path[:0] = [str(TESTS)]
    found: dict[str, Any] = import_module("readers_lanes").READERS
    return found


def fuzz(name: str, folder: Path) -> None:
    """In this process, which libFuzzer ends."""
    atheris: Any = import_module("atheris")  # which only `make fuzz` installs
    with atheris.instrument_imports(include=["interlock"]):
        reader = readers()[name]
    for number, data in enumerate(reader.inputs()):
        (folder / str(number)).write_bytes(data)
    found = TESTS / "faulty_inputs" / name
    limits = [f"-max_total_time={SECONDS}", "-timeout=20", "-rss_limit_mb=1500", f"-max_len={LONGEST}"]
    told = ["-print_final_stats=1", f"-artifact_prefix={found}/"]

    def try_it(data: bytes) -> None:
        reader.read(data)

    atheris.Setup(["fuzz", *limits, *told, str(folder)], try_it)
    atheris.Fuzz()


def lead(name: str) -> bool:
    """In another process. Whether no fault was found."""
    found = TESTS / "faulty_inputs" / name
    found.mkdir(parents=True, exist_ok=True)
    before = {*found.iterdir()}
    with tempfile.TemporaryDirectory(prefix="interlock-fuzz-") as folder:
        command = [sys.executable, __file__, "--here", folder, name]
        answer = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        reached = len(list(Path(folder).iterdir()))
    coverage = re.findall(r" cov: ([0-9]+)", answer.stderr)
    tried = re.findall(r"stat::number_of_executed_units: +([0-9]+)", answer.stderr)
    print(f"{name:20} {(tried or ['?'])[-1]:>9} tried, {(coverage or ['?'])[-1]:>5} edges, {reached:>4} kinds of input")
    new = sorted({*found.iterdir()} - before)
    if answer.returncode or new:
        print(f"{answer.stdout[-2000:]}{answer.stderr[-4000:]}\nleft in: {', '.join(map(str, new)) or 'nothing'}")
    if not [*found.iterdir()]:
        found.rmdir()
    return not (answer.returncode or new)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--here", metavar="FOLDER", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("names", metavar="READER", nargs="*")
    asked = parser.parse_args()
    if asked.here:
        fuzz(asked.names[0], asked.here)
        return 0
    known = list(readers())
    if unknown := sorted({*asked.names} - {*known}):
        parser.error(f"there is no reader {', '.join(unknown)}; there are {', '.join(known)}")
    faulty = [name for name in asked.names or known if not lead(name)]
    print(f"faults in: {', '.join(faulty)}" if faulty else "no faults")
    return 1 if faulty else 0


if __name__ == "__main__":
    sys.exit(main())
