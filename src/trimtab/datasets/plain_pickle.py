"""A pickle of arrays and texts, as some data and weights are published. Takes a file, gives its content; anything
that would run code is refused.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from trimtab.errors import DataError

ALLOWED = {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}
REBUILT = {("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct")}


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in REBUILT:
            from numpy._core import multiarray

            return multiarray._reconstruct
        if (module, name) in ALLOWED:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it holds {module}.{name}, which is no plain data")


def load(path: Path) -> Any:
    """DataError where it holds more than numbers, texts and arrays."""
    try:
        with path.open("rb") as handle:
            return _Plain(handle, encoding="latin1").load()
    except (pickle.UnpicklingError, EOFError, OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a pickle of arrays: {str(error)[:120]}") from None
