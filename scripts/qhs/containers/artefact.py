"""What OCI's registries keep beside an image: manifests, and how they name their parts."""

from __future__ import annotations

import hashlib
from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"


def sha256(content: bytes) -> str:
    """As registries write it."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def descriptor(kind: str, content: bytes) -> dict[str, Any]:
    """How a manifest names a part."""
    return {"mediaType": kind, "digest": sha256(content), "size": len(content)}
