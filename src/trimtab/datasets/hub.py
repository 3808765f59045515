"""Whether the model hub can be reached, asked once and quickly: its own client would try for a minute. Takes
nothing, gives bool."""

from __future__ import annotations

import os
import socket
from functools import cache
from urllib.parse import urlsplit


@cache
def reachable(seconds: float = 5.0) -> bool:
    """A proxy or a mirror (HF_ENDPOINT) is taken at its word; HF_HUB_OFFLINE is obeyed."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON"):
        return False
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return True
    hub = urlsplit(os.environ.get("HF_ENDPOINT", "https://huggingface.co"))
    try:
        with socket.create_connection((hub.hostname, hub.port or (80 if hub.scheme == "http" else 443)), seconds):
            return True
    except OSError:
        return False
