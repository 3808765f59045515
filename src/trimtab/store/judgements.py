"""What people say of answers: blind votes on pairs, labels of single answers. Takes and gives plain rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from sqlalchemy import Connection, Select, delete, insert, select, update

from trimtab.store import schema as t


class Judgements:
    """`read` and `write` are the store's own, with its sentences for what can go wrong."""

    def __init__(
        self, read: Callable[[Select[Any]], list[Any]], write: Callable[[], AbstractContextManager[Connection]]
    ):
        self._read, self._write = read, write

    def open_review(self, review: str, names: Sequence[str], pairs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The review's pairs, stored now if they are not there: what was drawn once is never drawn again."""
        with self._write() as c:
            if c.execute(select(t.reviews.c.place).where(t.reviews.c.review == review)).first() is None and pairs:
                rows = [{**p, "review": review, "place": i, "names": list(names)} for i, p in enumerate(pairs)]
                c.execute(insert(t.reviews), rows)
        return self._dicts(select(t.reviews).where(t.reviews.c.review == review).order_by(t.reviews.c.place))

    def reviews(self) -> list[dict[str, Any]]:
        """Every pair of every review, with its vote."""
        return self._dicts(select(t.reviews).order_by(t.reviews.c.review, t.reviews.c.place))

    def vote(self, review: str, place: int, vote: str | None) -> None:
        """ "first", "second", "tie", or None to take it back."""
        with self._write() as c:
            where = (t.reviews.c.review == review) & (t.reviews.c.place == place)
            c.execute(update(t.reviews).where(where).values(vote=vote))

    def label(self, **row: Any) -> None:
        """Of one answer (run, probe, place, side): 1 or 0; said again, it replaces."""
        key = [t.labels.c[k] == row[k] for k in ("run", "probe", "place", "side")]
        with self._write() as c:
            c.execute(delete(t.labels).where(*key))
            c.execute(insert(t.labels).values(row))

    def labels(self, run: str) -> list[dict[str, Any]]:
        """What people said of a run's answers."""
        return self._dicts(select(t.labels).where(t.labels.c.run == run).order_by(t.labels.c.place))

    def _dicts(self, query: Select[Any]) -> list[dict[str, Any]]:
        return [dict(r._mapping) for r in self._read(query)]
