"""Another Interlock, over its HTTP API, in the shape of the facade.

Owns: requests to a server of ours, and making values and errors again of what it answers. Refuses: a store, and rules of its own;
the server decides. Invariants: the token goes to that server and nowhere else, and over a network only under TLS; what left and
was not answered is told as unknown, and never sent again; nothing that a server answers is run.
"""

from interlock.client.agents import Asked
from interlock.client.errors import AnswerLost, NotInterlock, RemoteError, ServerUnreachable
from interlock.client.remote import Remote, open_remote

__all__ = ["AnswerLost", "Asked", "NotInterlock", "Remote", "RemoteError", "ServerUnreachable", "open_remote"]
