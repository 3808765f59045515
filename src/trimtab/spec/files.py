"""A file is written whole or not at all. Takes a path and its content, replaces what was there in one move."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_whole(path: Path, content: str | bytes) -> None:
    """Folders are made where they are missing. Raises OSError where the disk is full or the place cannot be written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as scratch:
        try:
            scratch.write(data)
            scratch.flush()
            os.chmod(scratch.name, 0o644)  # a temporary file is for its owner alone
            os.replace(scratch.name, path)
        except BaseException:
            os.unlink(scratch.name)  # half a file is no file
            raise
