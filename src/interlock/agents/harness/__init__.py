"""The harness: the shell round the machine of `turns`, which writes down what is to be done, does it, and writes down what came
of it, so that any process can go on.

Invariants: nothing is done before it is written down that it is about to be; what was answered is never asked for again; what
nobody may repeat is never repeated; a process whose hold is gone writes nothing; a turn that waits for a person keeps nobody.
"""

from interlock.agents.harness.asking import MAX_TEXT, Asked, asked_for, is_guest, plan_of
from interlock.agents.harness.executor import TurnExecutor
from interlock.agents.harness.glancing import Glance
from interlock.agents.harness.guest_attempts import Came, Taken
from interlock.agents.harness.guest_journal import Consent, Said, Step
from interlock.agents.harness.guest_steps import Asking, Steps
from interlock.agents.harness.guests import Guest
from interlock.agents.harness.harness import LANE, MOST_LISTED, Harness, Options
from interlock.agents.harness.journal import Line, Past, state_digest
from interlock.agents.harness.leaving import catch_up, left
from interlock.agents.harness.means import Happening, Means, Watch
from interlock.agents.harness.previewing import Preview, preview
from interlock.agents.harness.replaying import read, replay
from interlock.agents.harness.sheets import Sheet
from interlock.agents.harness.standing import Turn, Waiting
from interlock.agents.harness.telling import Telling, happening

__all__ = [
    "LANE",
    "MAX_TEXT",
    "MOST_LISTED",
    "Asked",
    "Asking",
    "Came",
    "Consent",
    "Glance",
    "Guest",
    "Happening",
    "Harness",
    "Line",
    "Means",
    "Options",
    "Past",
    "Preview",
    "Said",
    "Sheet",
    "Step",
    "Steps",
    "Taken",
    "Telling",
    "Turn",
    "TurnExecutor",
    "Waiting",
    "Watch",
    "asked_for",
    "catch_up",
    "happening",
    "is_guest",
    "left",
    "plan_of",
    "preview",
    "read",
    "replay",
    "state_digest",
]
