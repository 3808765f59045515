"""The verb that uses a trained classifier: predict. Plain values in, plain data out."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimtab.errors import DataError, SpecError
from trimtab.spec.files import write_whole
from trimtab.spec.options import DEFAULT_OUT
from trimtab.spec.progress import SILENT, Progress, Say
from trimtab.store.folder import opened
from trimtab.store.rows import best_of

if TYPE_CHECKING:
    from trimtab.analysis.abstain import Threshold
    from trimtab.spec.recipe import Recipe


def predict(
    run: str,
    given: Sequence[str],
    *,
    right: float = 0.95,
    out: str | Path = DEFAULT_OUT,
    watcher: Progress = SILENT,
) -> dict[str, Any]:
    """The labels of texts or pictures, or of a file or folder of them, as a trained run sees them.

    Gives {"labels", "rows": [{"text", "label", "probability", "answered", "probabilities"}], "threshold", "file"}:
    an answer is given where it is at least as sure as the validation examples need for a share of `right` to be right
    (analysis/abstain.py); `threshold` None where nothing was shown to be so right. `file`: where the rows of a file
    were written to. Raises SpecError, DataError, StoreError or RunError.
    """
    if not 0 < right < 1:
        raise SpecError("--right", [f"got {right:g}; a share between 0 and 1, as in 0.95"])
    if not given:
        raise SpecError("trimtab predict", ["give a text in quotes, a picture, several, or a file or folder of them"])
    with opened(out, create=False) as store:
        from trimtab.analysis.abstain import threshold
        from trimtab.run import machine
        from trimtab.tasks import label_predictions

        row = store.find_run(run)
        what, shown, file = _what(row.recipe, given, watcher.note)
        best = store.folder / "runs" / row.id / "best"
        made = label_predictions.predict(row.recipe, best, what, machine.look(), watcher.note)
        best_seen = best_of(store.evaluations(row.id))
        pulse = best_seen["pulse"] if best_seen else {}
        found = threshold(pulse["right"], pulse["sure"], right) if pulse else None
        rows = [_row(t, p, made.labels, found) for t, p in zip(shown, made.probabilities, strict=True)]
        written = _written(rows, store.folder / "predictions" / f"{file.stem}-{row.id}.csv") if file else None
    return {
        "run": row.id,
        "labels": list(made.labels),
        "rows": rows,
        "right": right,
        "validation": len(best_seen["items"]) if best_seen else 0,
        "threshold": found and {"sure": found.sure, "covered": found.covered, "right": vars(found.right)},
        "file": str(written) if written else None,
    }


def _what(recipe: Recipe, given: Sequence[str], say: Say) -> tuple[Sequence[Any], Sequence[str], Path | None]:
    """(what the run is asked, as a person would recognise it, the file or folder that it came from)."""
    if recipe.task == "image-classification":
        from trimtab.datasets.picture_sources import TABLES, place_of
        from trimtab.datasets.pictures import unlabelled

        pictures = unlabelled(given, say)
        place, _ = place_of(given[0])
        many = len(given) == 1 and (place.is_dir() or place.suffix.lower() in TABLES)
        return pictures, [p.name for p in pictures], place if many else None
    file = _file_of(given)
    texts = _texts_in(given[0], recipe.data) if file else list(given)
    return texts, texts, file


def _row(text: str, probabilities: Sequence[float], labels: Sequence[str], found: Threshold | None) -> dict[str, Any]:
    place = max(range(len(labels)), key=probabilities.__getitem__)
    return {
        "text": text,
        "label": labels[place],
        "probability": probabilities[place],
        "answered": found is not None and probabilities[place] >= found.sure,
        "probabilities": list(probabilities),
    }


def _file_of(given: Sequence[str]) -> Path | None:
    """The one file that was given, or None for texts. SpecError where a file is among texts, or of another kind."""
    from trimtab.datasets.read import SUFFIXES

    for text in given:
        named = Path(text.partition("#")[0]).expanduser()
        if named.suffix.lower() in SUFFIXES and len(given) == 1:
            return named
        if "\n" not in text and len(text) < 256 and named.is_file():
            raise SpecError(
                "trimtab predict", [f"{text} is a file; give texts, or one file alone ({', '.join(SUFFIXES)})"]
            )
        if not text.strip():
            raise SpecError("trimtab predict", ["got an empty text; give one with words in it"])
    return None


def _texts_in(given: str, learned: str) -> list[str]:
    """Of the column that is named behind the file, else of the one that training read, else of the only one."""
    from trimtab.datasets.columns import BESIDE, asked_in, pair_of, parts_of, split_name
    from trimtab.datasets.read import read

    file, named = split_name(given)
    trained = split_name(learned)[1]
    rows = read(file).rows["train"]
    there = set(rows[0])
    pair = pair_of(there)
    beside = next(("+".join(two) for two in BESIDE if there >= {*two}), None)  # without a label column too
    wanted = [
        named and named[0], trained and trained[0], pair and pair[0], beside, "text",
        *(there if len(there) == 1 else ()),
    ]  # fmt: skip
    column = next((c for c in wanted if c and there >= {*parts_of(c, there)}), None)
    if column is None or (named and column != named[0]):
        raise DataError(
            f"{file} has the columns {', '.join(rows[0])}; name the one to be read and any other behind it"
            f" ({file}#TEXT,OTHER), or call it text"
        )
    texts = [asked_in(row, column) for row in rows]
    empty = [i for i, t in enumerate(texts) if not isinstance(t, str) or not t.strip()]
    if empty:
        raise DataError(f"{file}, row {empty[0] + 1} has no text in {column}; mend it or take it out")
    return [str(t) for t in texts]


def _written(rows: Sequence[dict[str, Any]], path: Path) -> Path:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["text", "label", "probability", "answered"])
    writer.writerows([r["text"], r["label"], f"{r['probability']:.4f}", r["answered"]] for r in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, out.getvalue())
    return path
