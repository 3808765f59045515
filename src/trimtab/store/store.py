"""The store: small verbs over the tables. Takes and gives plain values; every verb is one committed transaction.

Must not know how anything is computed. SQLite in WAL mode by default; any SQLAlchemy URL works.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, delete, insert, make_url, select, update
from sqlalchemy.exc import DatabaseError, OperationalError

from trimtab.errors import StoreError, did_you_mean
from trimtab.spec.recipe import Recipe
from trimtab.spec.status import Status
from trimtab.spec.study import Asked, facts_of
from trimtab.store import schema as t
from trimtab.store.engine import address, engine, said, shown
from trimtab.store.judgements import Judgements
from trimtab.store.owner import me
from trimtab.store.queue import Queue
from trimtab.store.rows import RunRow, StudyRow, run_row, study_row
from trimtab.store.versions import bring_up, is_today

MAKING = 20261123  # the lock under which a server's tables are made


def _file_of(url: str) -> Path | None:
    """Where a file holds the store."""
    name = make_url(url).database if url.startswith("sqlite") else None
    return Path(name) if name and name != ":memory:" else None


class Store:
    """`Store(folder)` opens or makes FOLDER/trimtab.db, or the server that FOLDER/store.url names; `Store(url=…)`
    any SQLAlchemy URL."""

    def __init__(self, folder: str | Path | None = None, url: str | None = None, create: bool = True):
        if folder is not None:
            path = Path(folder)
            url = address(path)
            if not create and url is None and not (path / "trimtab.db").exists():
                raise StoreError(f"{path} holds no trimtab store; name the folder of an earlier run with --out")
            path.mkdir(parents=True, exist_ok=True)
            url = url or f"sqlite:///{path / 'trimtab.db'}"
        assert url, "a folder or a URL is needed"
        self.folder = Path(folder) if folder is not None else Path()
        self._engine, self._file = engine(url), _file_of(url)
        self._mine: list[str] = []
        self.queue = Queue(self._rows, self._write)
        self.judgements = Judgements(self._rows, self._write)
        try:
            with self._engine.connect() as c:
                today = is_today(c)
            if not today:
                self._bring_up()
        except OperationalError as error:
            hint = "is the disk full or the file locked?"
            if not url.startswith("sqlite"):
                hint = "see that its server is there, then start again: nothing is lost"
            raise StoreError(f"the store {shown(url)} cannot be opened: {said(error)}; {hint}") from None
        except DatabaseError as error:
            raise StoreError(
                f"{shown(url)} is no store, or is damaged: {said(error)}; put back a copy, or give another folder with"
                " --out"
            ) from None

    def _bring_up(self) -> None:
        """Two processes that open a new or an old store at once must not both make its tables: the second waits, and
        finds them."""
        with self._engine.begin() as c:
            c.exec_driver_sql(
                "BEGIN IMMEDIATE" if c.dialect.name == "sqlite" else f"SELECT pg_advisory_xact_lock({MAKING})"
            )
            bring_up(c)

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        if self._file and not self._file.exists():  # SQLite would go on writing into a file that nobody can find again
            raise StoreError(f"the store {self._file} is gone: it was moved or deleted; put it back and start again")
        try:
            with self._engine.begin() as connection:
                if self._file:  # what is read before it is written must not be written by somebody else in between
                    connection.exec_driver_sql("BEGIN IMMEDIATE")
                yield connection
        except OperationalError as error:
            hint = "free disk space or wait for the other writer" if self._file else "see that its server is there"
            raise StoreError(
                f"the store cannot be written: {said(error)}; {hint}, then start again: nothing is lost"
            ) from None

    # studies

    def open_study(self, asked: Asked, study: str | None = None) -> StudyRow:
        """The study of this name (of what was asked, where none is given), made if it is not there; one that was
        stopped is open again. It is this process's from now on."""
        study = study or asked.name()
        with self._write() as c:
            again = (t.studies.c.id == study) & (t.studies.c.status == Status.STOPPED)
            c.execute(update(t.studies).where(again).values(status=Status.RUNNING))
            if c.execute(select(t.studies.c.id).where(t.studies.c.id == study)).first() is None:
                record = asked.model_dump(mode="json")
                row = {
                    "id": study,
                    "kind": asked.kind,
                    "created": time.time(),
                    "status": Status.RUNNING,
                    "seconds": 0.0,
                }
                c.execute(insert(t.studies).values(**row, asked=record, facts={}))
        self.update_study(study, facts={"owner": me()})
        self._mine.append(study)
        return self.study(study)

    def leave(self) -> None:
        """This process works at its studies no more."""
        for study in self._mine:
            self.update_study(study, facts={"owner": None})
        self._mine.clear()

    def study(self, study: str) -> StudyRow:
        """StoreError where there is none."""
        return study_row(self._one(t.studies, study, "study"))

    def studies(self) -> list[StudyRow]:
        """In the order they were begun."""
        return [study_row(r) for r in self._rows(select(t.studies).order_by(t.studies.c.created))]

    def find_study(self, name: str | None = None) -> StudyRow:
        """By id or by a beginning of it that only one has; the newest of any kind where none is named. StoreError
        where there is none, or several are called so."""
        every = self.studies()
        hits = [s for s in every if name in (None, s.id)] or [s for s in every if name and s.id.startswith(name)]
        if not hits or (name and len(hits) > 1):
            known = ", ".join(s.id for s in hits or every) or "none"
            what = "no study" if not hits else "several studies are called"
            raise StoreError(f"{what}{f' {name}' if name else ''} here (there are: {known})")
        return hits[-1]

    def update_study(
        self,
        study: str,
        *,
        status: Status | None = None,
        seconds: float | None = None,
        facts: dict[str, Any] | None = None,
    ) -> None:
        """Set status or seconds; `facts` are merged into those stored, each one that a study of this kind has."""
        changes: dict[str, Any] = {}
        if status is not None:
            changes["status"] = status
        if seconds is not None:
            changes["seconds"] = seconds
        with self._write() as c:
            if facts is not None:
                where = select(t.studies.c.kind, t.studies.c.facts).where(t.studies.c.id == study)
                row = c.execute(where.with_for_update()).one()
                changes["facts"] = {**row.facts, **facts}
                facts_of(row.kind, changes["facts"])
            c.execute(update(t.studies).where(t.studies.c.id == study).values(changes))

    # runs

    def add_run(self, recipe: Recipe, study: str | None = None) -> RunRow:
        """WAITING, or the row already there: the same recipe and seed is the same run."""
        with self._write() as c:
            if c.execute(select(t.runs.c.id).where(t.runs.c.id == recipe.run_id)).first() is None:
                row = {
                    "id": recipe.run_id,
                    "study": study,
                    "created": time.time(),
                    "recipe": recipe.model_dump(mode="json"),
                    "status": Status.WAITING,
                    "result": {},
                }
                c.execute(insert(t.runs).values(row))
            link = {"study": study, "run": recipe.run_id}
            if study and not list(c.execute(select(t.study_runs).filter_by(**link))):
                c.execute(insert(t.study_runs).values(link))
        return self.run(recipe.run_id)

    def run(self, run: str) -> RunRow:
        """StoreError where there is none."""
        return run_row(self._one(t.runs, run, "run"))

    def find_run(self, name: str) -> RunRow:
        """By id or by a beginning of it that only one run has."""
        ids = [r.id for r in self._rows(select(t.runs.c.id))]
        hits = [i for i in ids if i == name] or [i for i in ids if name and i.startswith(name)]
        if len(hits) == 1:
            return self.run(hits[0])
        if hits:
            raise StoreError(f'"{name}" names {len(hits)} runs ({", ".join(hits[:4])} …); type more of the id')
        raise StoreError(f'no run "{name}" in this store{did_you_mean(name, ids)} (see: trimtab runs)')

    def runs(self, study: str | None = None, status: Status | None = None) -> list[RunRow]:
        """In the order they were begun; of a study also those that it shares."""
        query = select(t.runs).order_by(t.runs.c.created)
        if study is not None:
            query = query.where(t.runs.c.id.in_(select(t.study_runs.c.run).where(t.study_runs.c.study == study)))
        if status is not None:
            query = query.where(t.runs.c.status == status)
        return [run_row(r) for r in self._rows(query)]

    def update_run(self, run: str, *, result: dict[str, Any] | None = None, **changes: Any) -> None:
        """Set columns; `result` is merged into what is stored."""
        with self._write() as c:
            if result is not None:
                where = select(t.runs.c.result).where(t.runs.c.id == run)
                changes["result"] = {**c.execute(where.with_for_update()).scalar_one(), **result}
            c.execute(update(t.runs).where(t.runs.c.id == run).values(changes))

    # requests to stop

    def ask_stop(self, run: str, why: str) -> None:
        """Whoever trains the run sees it within seconds."""
        self._replace(t.stops, [{"run": run, "why": why}], ("run",))

    def stops_asked(self, runs: Sequence[str]) -> dict[str, str]:
        """Why, for those of these runs that are to stop."""
        rows = self._rows(select(t.stops).where(t.stops.c.run.in_(runs)))
        return {r.run: r.why for r in rows}

    def go_on(self, run: str) -> None:
        """An earlier request to stop does not count any more."""
        with self._write() as c:
            c.execute(delete(t.stops).where(t.stops.c.run == run))

    # what a run leaves behind

    def log_steps(self, rows: Sequence[dict[str, Any]]) -> None:
        """Rows of (run, step, loss, learning_rate, grad_norm, size, seconds, and perhaps gradient_shares); a
        repeated step is replaced."""
        key, apart = ("run", "step"), "gradient_shares"
        shares = [{k: r[k] for k in (*key, apart)} for r in rows if r.get(apart)]
        self._replace(t.steps, [{k: v for k, v in r.items() if k != apart} for r in rows], key)
        self._replace(t.updates, shares, key)

    def updates(self, run: str) -> list[dict[str, Any]]:
        """{step, gradient_shares} of each update, in order: see run/gradient_shares.py."""
        return self._dicts(select(t.updates).where(t.updates.c.run == run).order_by(t.updates.c.step))

    def steps(self, run: str, after: int = 0) -> list[dict[str, Any]]:
        """Optimizer steps after this one, in order."""
        where = (t.steps.c.run == run) & (t.steps.c.step > after)
        return self._dicts(select(t.steps).where(where).order_by(t.steps.c.step))

    def log_evaluation(self, **row: Any) -> None:
        """`run`, `step`, `share`, `loss`, `items`, `pulse`; a repeated step is replaced."""
        self._replace(t.evaluations, [row], ("run", "step"))

    def evaluations(self, run: str, after: int = 0) -> list[dict[str, Any]]:
        """After this step, in order."""
        where = (t.evaluations.c.run == run) & (t.evaluations.c.step > after)
        return self._dicts(select(t.evaluations).where(where).order_by(t.evaluations.c.step))

    def log_event(
        self, kind: str, text: str, *, study: str | None = None, run: str | None = None, step: int | None = None
    ) -> None:
        """Something that happened, in words."""
        with self._write() as c:
            c.execute(insert(t.events).values(time=time.time(), study=study, run=run, step=step, kind=kind, text=text))

    def events(self, *, study: str | None = None, run: str | None = None) -> list[dict[str, Any]]:
        """Of a study or a run, in order."""
        query = select(t.events).order_by(t.events.c.id)
        if study is not None:
            query = query.where(t.events.c.study == study)
        if run is not None:
            query = query.where(t.events.c.run == run)
        return self._dicts(query)

    # forecasts

    def save_forecast(self, run: str, predicted: dict[str, Any]) -> None:
        """What was expected of a run, before it began; a new expectation forgets the old measurement."""
        with self._write() as c:
            c.execute(t.forecasts.delete().where(t.forecasts.c.run == run))
            c.execute(t.forecasts.insert().values(run=run, created=time.time(), predicted=predicted, measured={}))

    def measured(self, run: str, **numbers: Any) -> None:
        """Add what a run really took to its forecast; nothing where there was none."""
        with self._write() as c:
            row = c.execute(t.forecasts.select().where(t.forecasts.c.run == run)).first()
            if row is not None:
                merged = {**row.measured, **numbers}
                c.execute(t.forecasts.update().where(t.forecasts.c.run == run).values(measured=merged))

    def forecasts(self) -> list[dict[str, Any]]:
        """Every run's expectation and measurement, oldest first."""
        with self._engine.connect() as c:
            rows = c.execute(t.forecasts.select().order_by(t.forecasts.c.created)).all()
        return [{"run": r.run, "created": r.created, "predicted": r.predicted, "measured": r.measured} for r in rows]

    def save_card(self, run: str, measured: dict[str, Any], judged: dict[str, Any]) -> None:
        """What was measured of a run, and how it was judged."""
        self._replace(t.cards, [{"run": run, "created": time.time(), "measured": measured, "judged": judged}], ("run",))

    def card(self, run: str) -> dict[str, Any] | None:
        """None where it has none."""
        rows = self._dicts(select(t.cards).where(t.cards.c.run == run))
        return rows[0] if rows else None

    def save_samples(self, run: str, rows: Sequence[dict[str, Any]]) -> None:
        """Answers side by side; those there were are replaced."""
        with self._write() as c:
            c.execute(delete(t.samples).where(t.samples.c.run == run))
            if rows:
                c.execute(insert(t.samples), [dict(row, run=run, place=i) for i, row in enumerate(rows)])

    def samples(self, run: str) -> list[dict[str, Any]]:
        """Answers side by side, in order."""
        return self._dicts(select(t.samples).where(t.samples.c.run == run).order_by(t.samples.c.place))

    def forget_measurements(self, run: str) -> None:
        """Drop what was measured of a run's weights (card, samples, task answers): they are about to change."""
        with self._write() as c:
            where = select(t.runs.c.result).where(t.runs.c.id == run)
            result = c.execute(where.with_for_update()).scalar_one()
            kept = {k: v for k, v in result.items() if k not in ("task", "answers")}
            c.execute(delete(t.cards).where(t.cards.c.run == run))
            c.execute(delete(t.samples).where(t.samples.c.run == run))
            c.execute(delete(t.labels).where(t.labels.c.run == run))
            c.execute(update(t.runs).where(t.runs.c.id == run).values(result=kept))

    # decisions

    def decide(self, study: str, place: str, sentence: str, evidence: dict[str, Any]) -> dict[str, Any]:
        """Store the answer to one question; a question already answered keeps its first answer."""
        with self._write() as c:
            where = (t.decisions.c.study == study) & (t.decisions.c.place == place)
            if c.execute(select(t.decisions.c.id).where(where)).first() is None:
                c.execute(insert(t.decisions).values(study=study, place=place, sentence=sentence, evidence=evidence))
        return next(d for d in self.decisions(study) if d["place"] == place)

    def decisions(self, study: str) -> list[dict[str, Any]]:
        """Of a study, in the order they were made."""
        return self._dicts(select(t.decisions).where(t.decisions.c.study == study).order_by(t.decisions.c.id))

    # helpers

    def _rows(self, query: Any) -> list[Any]:
        try:
            with self._engine.connect() as c:
                return list(c.execute(query))
        except OperationalError as error:
            raise StoreError(f"the store cannot be read: {said(error)}; start again: nothing is lost") from None

    def _dicts(self, query: Any) -> list[dict[str, Any]]:
        return [dict(r._mapping) for r in self._rows(query)]

    def _one(self, table: Table, key: str, word: str) -> Any:
        rows = self._rows(select(table).where(table.c.id == key))
        if not rows:
            ids = [r.id for r in self._rows(select(table.c.id))]
            raise StoreError(f'no {word} "{key}" in this store{did_you_mean(key, ids)}')
        return rows[0]

    def _replace(self, table: Table, rows: Sequence[dict[str, Any]], key: tuple[str, ...]) -> None:
        """Delete and insert in one transaction: works on every database."""
        with self._write() as c:
            for row in rows:
                condition = [table.c[k] == row[k] for k in key]
                c.execute(delete(table).where(*condition))
            if rows:
                c.execute(insert(table), list(rows))
