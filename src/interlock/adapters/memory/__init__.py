"""Memory providers: storages under the rules of the room `memory`. Each is loaded by its entry point, when it is asked for.

Owns: how revisions are stored and searched. Refuses: what remembering and forgetting mean. Invariants: no row of another scope
is seen or changed, whatever is asked.
"""

from interlock.adapters.memory.inprocess import InProcess

__all__ = ["InProcess"]
