"""Catalogues of others, read into providers of ours, with a report of what each entry lost.

Owns: the formats and the report. Refuses: fetching any catalogue; people bring their own copy. Invariants: a text that cannot be
said in our words is left out and told, or its entry is refused, never half understood; nothing an entry holds is run.
"""

from interlock.catalog.importing.reading import MAX_BYTES, read_catalogue
from interlock.catalog.importing.report import Coverage, Entry, Format, Imported

__all__ = ["MAX_BYTES", "Coverage", "Entry", "Format", "Imported", "read_catalogue"]
