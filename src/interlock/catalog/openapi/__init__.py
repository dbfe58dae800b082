"""OpenAPI documents, read into connectors of ours.

Owns: what of a document is said in a manifest, and what is told of the rest. Refuses: fetching anything, and following a
reference out of the document. Invariants: an operation that cannot be said in our words is left out and told; nothing that a
document says of itself (`x-…`) is taken for something that we say.
"""

from interlock.catalog.openapi.reading import Described, LeftOut, read_openapi

__all__ = ["Described", "LeftOut", "read_openapi"]
