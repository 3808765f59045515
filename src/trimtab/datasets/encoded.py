"""A data set as a model takes it: items by split, and the table of what was read. Whatever the task; made by it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Encoded:
    """Items by split, each with a weight of at least 1, and the table of what was read (plain data, see
    `Task.table_lines`)."""

    splits: dict[str, list[Any]]
    table: dict[str, Any]
