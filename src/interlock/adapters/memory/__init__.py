"""Memory providers: storages under the rules of the room `memory`. Each is loaded by its entry point, when it is asked for.

Owns: how revisions are stored and searched. Refuses: what remembering and forgetting mean. Invariants: no row of another scope
is seen or changed, whatever is asked.
"""

from interlock.adapters.memory.inprocess import InProcess
from interlock.adapters.memory.over_http import HttpTransport, base_of, key_of

__all__ = ["HttpTransport", "InProcess", "base_of", "key_of"]
