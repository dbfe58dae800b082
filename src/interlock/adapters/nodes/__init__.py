"""What nodes need of a machine: a journal on disk.

Owns: files that a node alone writes. Refuses: judging what is in them. Invariants: what was acknowledged is on the disk.
"""

from interlock.adapters.nodes.journal import FileJournal, JournalBusy, JournalDamaged, JournalUnavailable

__all__ = ["FileJournal", "JournalBusy", "JournalDamaged", "JournalUnavailable"]
