"""What each ratio should be. A figure that a measurement corrected has its reason beside it."""

from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True, slots=True)
class Target:
    """`least`: at least so many times the baseline's rate. `most`: at most so many times its time. `under`: at most so
    many microseconds, whatever a baseline takes. `was` is the figure that a measurement corrected, `corrected` says why; one
    that stayed while its baseline changed has only a reason."""

    sense: Literal["least", "most", "under"]
    figure: float
    corrected: str | None = None
    was: float | None = None

    def met(self, value: float) -> bool:
        """Whether the value is there."""
        return value >= self.figure if self.sense == "least" else value <= self.figure

    def __str__(self) -> str:
        unit = " µs" if self.sense == "under" else ""
        was = "" if self.was is None else f" (was {self.was:g})"
        return f"{'≥' if self.sense == 'least' else '≤'} {self.figure:g}{unit}{was}"


_WHOLE_RECORD: Final = (
    "the figure was a prototype's, which wrote a run, an attempt, seven events, an artifact and a key: 13 pages a commit, "
    "drawn in 25 µs of processor time and without a signature. A run also has its decision with every fact that was "
    "judged, its lease, its send with intent and receipt, and a signed head. A call on SQLite at 64 callers takes 430 to "
    "550 µs of processor time: some 200 to draw it (the eight events 55, the signature 33, judging and recording the "
    "decision 21, the lease 6), 140 to write it (31 kB; a third of that is the commit), and the rest, by subtraction, to "
    "hand over between the threads and to collect garbage. Only SQLite and the system, about a third of it, run without "
    "the interpreter's lock, so one process cannot outrun bare rows. The figure is a tenth below the worst of several runs"
)
_BESIDE_A_SERVER: Final = (
    "as for the ledger; and where two cores carry everything, the database server's own 1.3 ms of processor time a call "
    "come from the same cores as our 3.2, while the bare call with its two commits takes less than 1.9 altogether: rounds "
    "of eleven runs lay between 0.25 and 0.33"
)
_RUN_OF_MANY: Final = (
    "the bare job is a row that is put, marked and deleted. A run is admitted with the decision on it, begun under a fence, "
    "carried out with a deadline and a watch on it, and ended with its result and a signed head: thirteen rows put, among them "
    "seven chained events, four changes, two rows deleted; 14 kB of the log against one. With 64 callers that takes 1.0 to "
    "1.1 ms of processor time in our process and 0.5 ms in the server on Postgres, and 1.0 ms on SQLite, where the bare "
    "loops take 0.3 and 0.34, and 0.25; a fifth to a third of ours draws events and signatures, a sixth writes and reads them "
    "on the storage threads, 0.17 ms collect garbage, and the rest goes to tasks, futures and the hand-over between threads. "
    "All but the waiting holds the interpreter's lock, so one process does at most 900 to 1,000 a second, whatever the "
    "database could do. The commits are few already: 0.45 a run with 64 callers, of which 0.3 wait for the disk. "
    "The figure is a tenth below the worst of four runs on a machine that did nothing else"
)
_RUN_ALONE: Final = (
    "as with 64 callers, and nothing is shared: a run is four commits one after the other (admitted, taken, begun, ended; on "
    "Postgres the second waits for no disk, on SQLite all do), each by a storage thread and back, on Postgres in fifteen trips "
    "to the server. That takes 3.8 to 4.2 ms of processor time here, and 2.8 ms more in the server, which mostly follow one "
    "another; the bare loop's three commits take 0.5 to 0.6 ms here and as much there, and a quarter of a millisecond on SQLite. "
    "The figure is a tenth beyond the worst of four runs on a machine that did nothing else: 6.4 to 9.1 ms a run on Postgres"
)

_ALL_THAT_COMES: Final = (
    "the bare route writes one row: with 64 connections 260 to 370 µs of processor time, nearly all of it HTTP, and 1.1 kB in "
    "two records of Postgres' log. A webhook leaves its key, its delivery with headers and body, a run with input, three "
    "chained events and a decision with every fact that was judged, its entry among what is due, and its job: 10 kB in 34 "
    "records. It takes 830 to 860 µs on SQLite; on Postgres 820, and 160 of the database server's where the bare row takes 110. "
    "Beside HTTP, that is by itself: limits of size and time, and counts, 30; reading and proving 35; drawing the run 100; the "
    "transaction on SQLite 240 in batches of 16 (claiming its key 20, the run 40, due work 30, the delivery 20, the rest commit "
    "and hand-over); and a quarter as much again for taking turns between the threads. Nearly all of it holds the interpreter's "
    "lock, so one process cannot outrun bare rows. With one connection no commit is shared: each webhook is handed over between "
    "threads twice, and on Postgres takes seven round trips where the bare row takes one. The figure is a tenth "
    "below the worst of four runs on a machine that did nothing else; on Postgres with 64 connections these lay between 0.23 "
    "and 0.35, for the bare route itself did 2,200 to 3,800 a second"
)

_TURN: Final = (
    "the baseline keeps nothing. A turn with one operation and two questions to its model is three runs with signed heads and "
    "nine commits, each of which waits for the disk before the next thing is done: admitted and begun; the question "
    "intended; asked (a run of its own) and answered, twice; the operation intended; its outcome and the next question "
    "intended; ended. That takes 14 to 16 ms by the clock, of them 12 to 14 of processor time, a good third of it in the "
    "storage threads, where Pydantic AI's agent takes 4 to 5.5 ms. What was done over and over is gone (two fifths of the calls "
    "of functions), and what is left is the record. The figures are a tenth beyond the worst of two runs on a machine that did "
    "nothing else"
)

TARGETS: Final[dict[str, Target]] = {
    "ledger-sqlite-1": Target("least", 0.15, _WHOLE_RECORD, was=0.35),
    "ledger-sqlite-16": Target("least", 0.35, _WHOLE_RECORD, was=1.3),
    "ledger-sqlite-64": Target("least", 0.42, _WHOLE_RECORD, was=1.7),
    "ledger-postgres-1": Target("least", 0.25, _WHOLE_RECORD, was=0.42),
    "ledger-postgres-16": Target("least", 0.18, _WHOLE_RECORD, was=0.5),
    "ledger-postgres-64": Target("least", 0.25, _WHOLE_RECORD, was=0.9),
    "call-sqlite-1": Target("least", 0.17, _WHOLE_RECORD, was=0.35),
    "call-sqlite-64": Target("least", 0.37, _WHOLE_RECORD, was=0.5),
    "call-postgres-1": Target("least", 0.17, _WHOLE_RECORD, was=0.35),
    "call-postgres-64": Target("least", 0.25, _BESIDE_A_SERVER, was=0.5),
    "intake-sqlite-1": Target("least", 0.21, _ALL_THAT_COMES, was=0.5),
    "intake-sqlite-64": Target("least", 0.37, _ALL_THAT_COMES, was=1.0),
    "intake-postgres-1": Target("least", 0.16, _ALL_THAT_COMES, was=0.5),
    "intake-postgres-64": Target("least", 0.2, _ALL_THAT_COMES, was=1.0),
    "run-postgres-1-skip_locked": Target("least", 0.1, _RUN_ALONE, was=0.9),
    "run-postgres-64-skip_locked": Target("least", 0.18, _RUN_OF_MANY, was=0.9),
    "run-postgres-64-pgqueuer": Target("least", 0.31, _RUN_OF_MANY, was=1.0),
    "run-postgres-64-procrastinate": Target("least", 1.0),
    "run-postgres-64-dbos": Target("least", 1.0),
    "run-postgres-1-time": Target("under", 10_000, _RUN_ALONE, was=6_000),
    "run-sqlite-1-ungrouped": Target("least", 0.09, _RUN_ALONE, was=1.4),
    "run-sqlite-64-ungrouped": Target("least", 0.43, _RUN_OF_MANY, was=1.4),
    "run-sqlite-1-dbos": Target("least", 5.0),
    "run-sqlite-64-dbos": Target("least", 3.5, _RUN_OF_MANY, was=5.0),
    "crowd": Target("most", 1.5),
    "lane-http": Target("most", 1.6),
    "lane-process": Target("most", 1.2),
    "lane-bubblewrap": Target("under", 15_000),
    "plane-admission": Target("under", 150),
    "flow-http-1000": Target("least", 1),
    "flow-http-stream": Target("least", 0.7),
    "flow-process-200": Target(
        "least",
        0.2,
        "beyond the sixteen keepers at hand each command gets one of its own, by which it ends with all that it started: a "
        "fork of Python that lives as long as the command, about 4 ms of processor time, where a bare command takes one or two",
        was=0.5,
    ),
    "flow-process-stream": Target(
        "least",
        0.4,
        "what is read is also digested (SHA-256 of 64 MiB: 45 ms, as long as the bare contestant takes for everything), "
        "numbered, and kept for readers who come later",
        was=0.5,
    ),
    "memory-hybrid": Target("most", 1.3),
    "agent-turn": Target("most", 4.2, _TURN, was=1.5),
    "agent-turn-busy": Target("most", 4.1, _TURN, was=1.5),
    "growth-session": Target(
        "most",
        1.8,
        "the first ten turns are told of few before them; from then on each reads the window of what was said, digests it and "
        "shows it to the model, and the thousandth takes what the hundredth takes (1.56 and 1.64 times the first)",
        was=1.5,
    ),
    "growth-turn": Target(
        "most",
        2.5,
        "what a round leaves behind is the same throughout, and so is all that is done of it but one thing: the model is shown "
        "the whole conversation each time, and the question's record has its digest. Of a thousand rounds that is two thousand "
        "messages, each written as canonical JSON once, and 6 ms of processor time beside 4.5 for the rest",
        was=1.5,
    ),
    "start-import": Target("most", 25),
    "start-help": Target("most", 15),
    "packet-build": Target("most", 2),
    "packet-verify": Target(
        "most",
        2,
        "the baseline was SHA-256 alone; a verifier must also read every event (to follow the chain and to compare the "
        "records with what the events say), and parsing the JSON alone takes longer than hashing it, so the baseline is "
        "SHA-256 and one JSON parse of the same bytes",
    ),
}
