"""What the application is given: who it is, and where its stores and databases are."""

import json
import os
from pathlib import Path
from typing import Any

ROOT = Path("/etc/estate/root.crt")
"""It vouches for everything of the estate."""
PEM = Path("/run/canary/own.pem")
"""Its own certificate, with the key before it."""
TOKEN = Path("/run/secret-store/token")
"""By which this pod, and no other, is let in by the secret store; renewed where it lies."""


def settings() -> dict[str, Any]:
    """As its deployment has them."""
    found: dict[str, Any] = json.loads(os.environ["CANARY"])
    return found
