"""Blob stores: large artifacts by digest, in a local folder that only its owner may read, in memory, or in object
storage (obstore: S3, GCS, Azure); and archives, files that grow.

Owns: bytes under a key or a name. Refuses: knowing what they mean. Invariants: a key is written whole or not at all; a deadline
bounds every call.
"""

from interlock.adapters.blobs.bundles import ArchiveUnavailable, FolderBundles
from interlock.adapters.blobs.objects import BlobMissing, BlobUnavailable, ObjectBlobs

__all__ = ["ArchiveUnavailable", "BlobMissing", "BlobUnavailable", "FolderBundles", "ObjectBlobs"]
