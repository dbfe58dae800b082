"""What services report when they are asked: polls, each of which asks for what is new and starts a handler for it.

Owns: what is new, how often is asked, and which process asks. Refuses: requests, which are governed runs as any other, and doing
the work. Invariants: a page's items, the work that they start and where the next page begins are one commit; an item starts its
work once; what could not be read is read later.
"""

from interlock.triggers.polling.asking import Asking, Declared
from interlock.triggers.polling.errors import InvalidPoll, PollChanged, PollExists, PollFailed, PollNotFound
from interlock.triggers.polling.model import Poll, State
from interlock.triggers.polling.poller import Poller
from interlock.triggers.polling.polls import Polls
from interlock.triggers.polling.reading import Item, Place, Read, begin, mark_at, question, read
from interlock.triggers.polling.records import PollRecords

__all__ = [
    "Asking",
    "Declared",
    "InvalidPoll",
    "Item",
    "Place",
    "Poll",
    "PollChanged",
    "PollExists",
    "PollFailed",
    "PollNotFound",
    "PollRecords",
    "Poller",
    "Polls",
    "Read",
    "State",
    "begin",
    "mark_at",
    "question",
    "read",
]
