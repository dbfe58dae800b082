"""Where connectors' Python code runs: in this process (trusted), or in a child process with its port over a pipe.

Owns: starting and ending that code. Refuses: giving it a credential or a socket. Invariants: a child is gone when its call is
over, however it ended; its environment is empty but for what Python needs.
"""

from interlock.adapters.handlers.child import ChildHost
from interlock.adapters.handlers.hosts import Hosts

__all__ = ["ChildHost", "Hosts"]
