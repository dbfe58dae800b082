"""The interlock.toml that `interlock init` writes."""

import json

_HEAD = """\
# Interlock's settings for this folder. `interlock doctor` checks them.
# A flag wins over the environment (INTERLOCK_STORE, INTERLOCK_EXECUTION__OWNER_LEASE …), which wins over this file.

"""

_BODY = """
# tenant = "default"
# environment = "dev"          # recorded on every run, and judged by policy

[approvals]
# Policy asks a person; that person must not be the one who asked. You are alone here, so you may approve your own
# requests: the record says so each time. Turn this off as soon as there are two of you.
self_review = true
expires_after = 86400          # seconds

[execution]
# Private and loopback addresses are refused unless they are listed here, as "host:port", an address or a CIDR.
egress_allow = []

# Policy: every matching rule gives a reason, and the strongest wins: deny, then shed, then ask, then allow.
# Matchers are globs: capability, connector, effect, runtime_class, tenant, actor, role, environment, connection, origin.
[policy]
default = "ask"                # what becomes of a call that no rule matches
reviewer = "approver"          # the role that decides

[[policy.rules]]
id = "reads-are-free"
then = "allow"
effect = "read"
reason = "reading changes nothing"

[[policy.rules]]
id = "writes-ask"
then = "ask"
effect = ["create", "update", "execute"]
reason = "writes need a person's consent"

[[policy.rules]]
id = "no-deletes"
then = "deny"
effect = "delete"
reason = "nothing is deleted from here"

# Let one capability through without asking, once you trust it: narrow "writes-ask" first, for allow never beats ask.
# [[policy.rules]]
# id = "comments-are-fine"
# then = "allow"
# capability = "github.comment.*"

# A request of one's own (`interlock proxy`) may do anything, a GET too: only a rule that names it lets it through.
# [[policy.rules]]
# id = "look-around"
# then = "allow"
# capability = "github.proxy.get"

# A budget is shared by every process on this store; a call over it is shed.
# [[budgets]]
# name = "github-writes"
# per = "connection"
# effect = ["create", "update", "delete"]
# rate = { limit = 30, per_seconds = 60 }
"""


def settings(*, store: str | None) -> str:
    """The file's text. An address that may hold a password is left out of it."""
    if store is None:
        line = '# store = ".interlock/interlock.db"'
    elif "://" in store:
        line = "# The store's address may hold a password, so it belongs into the environment: INTERLOCK_STORE."
    else:
        line = f"store = {json.dumps(store, ensure_ascii=False)}"
    return f"{_HEAD}{line}\n{_BODY}"
