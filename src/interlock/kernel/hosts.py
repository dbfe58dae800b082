"""How hosts are named."""

from typing import Final

HOST_PORT: Final = r"^(\[[0-9a-f:.]+\]|[a-z0-9._-]+):[1-9][0-9]{0,4}$"
"""The pattern of `host:port`, in lower case, as leases, manifests and intents write it; IPv6 addresses stand in brackets."""
