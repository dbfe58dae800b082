"""An authorization server with a service behind it, over real HTTP on loopback, for whoever tests a client.

Authlib decides about grants, so that our client meets another reading of the standards than its own. The server is strict: a
redirect URI that is off by a character, a code used twice, a verifier that does not fit, a client that shows itself in another
way than it is registered are refused. What it does wrong, it does because a test asks (`faults`).
"""

from auth_server import faults
from auth_server.faults import Fault
from auth_server.listening import AuthServer, serving
from auth_server.records import CLIENT, PERSON, PUBLIC, Client, Token
from auth_server.rooms import APP_ID, INSTALLATION
from auth_server.talk import Asked, Said

__all__ = [
    "APP_ID",
    "CLIENT",
    "INSTALLATION",
    "PERSON",
    "PUBLIC",
    "Asked",
    "AuthServer",
    "Client",
    "Fault",
    "Said",
    "Token",
    "faults",
    "serving",
]
