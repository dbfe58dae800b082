"""Providers of models, by the model layer of pydantic-ai (extra `inference`), whose requests leave by our wire.

Owns: our messages in a provider's words and back, its errors in ours, what its models cost. Refuses: to try anything again, to
read a key or an environment variable, to open a connection. Invariants: what a provider wants back unchanged goes back
unchanged; a stream that ended before its end is an answer that was cut off. A provider's library is imported when one of its
models is first asked.
"""

from interlock.adapters.models.kinds import KINDS, Kind
from interlock.adapters.models.prices import declared, listed
from interlock.adapters.models.provider import ProviderModel, is_installed

__all__ = ["KINDS", "Kind", "ProviderModel", "declared", "is_installed", "listed"]
