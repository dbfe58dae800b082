"""Where Python code of others runs: connectors' in this process (trusted), or in a child process with its port over a pipe; a
program's own modules in this one.

Owns: loading, starting and ending that code. Refuses: giving it a credential or a socket. Invariants: a child is gone when its
call is over, however it ended; its environment is empty but for what Python needs.
"""

from interlock.adapters.handlers.child import ChildHost
from interlock.adapters.handlers.hosts import Hosts
from interlock.adapters.handlers.modules import ModuleNotLoaded, load_modules

__all__ = ["ChildHost", "Hosts", "ModuleNotLoaded", "load_modules"]
