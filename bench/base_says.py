"""Makes src/trimtab/behaviour/base_says.zip: what the untouched bundled model says to the English card.

    python bench/base_says.py [--precisions float32,bfloat16] [--keep FOLDER]

A first run then measures its own model alone. Kept by the hash of weights, template, precision and question, as in the
user's cache; whatever is not in it is asked. Run it again after a change to the bundled model, to a question or to how
one is asked: a test says so.
"""

from __future__ import annotations

import argparse
import tempfile
import zipfile
from pathlib import Path

from trimtab.analysis.looks import PIECE
from trimtab.behaviour import kept
from trimtab.behaviour.answering import EvaluatedModel
from trimtab.behaviour.drift import extended, reference
from trimtab.behaviour.floor import floor
from trimtab.behaviour.own_answers import own_answers
from trimtab.behaviour.responses import Battery, collect_responses
from trimtab.probes.prompts import generic_prompts, remedy_neutral
from trimtab.run import machine
from trimtab.tasks.task import find_task
from trimtab.workers.model_cache import ModelCache

MODEL, LANGUAGE = "bundled:smollm2", "en"


def ask(bf16: bool, keep: Path) -> None:
    """Everything that a card, the setting of remedies and replay ask a base."""
    cache = ModelCache(find_task("sft"), MODEL, machine.look(), print, bf16=bf16)
    base = EvaluatedModel(cache.base())
    few = reference(base, keep, LANGUAGE)
    extended(few, base, keep, LANGUAGE, len(generic_prompts(LANGUAGE)))
    for level in ("card", "short", "pulse"):
        collect_responses(base, Battery(level, LANGUAGE), keep)
    floor(base, extended(few, base, keep, LANGUAGE, PIECE), Battery("card", LANGUAGE), keep)
    reference(base, keep, LANGUAGE, prompts=remedy_neutral("tune", LANGUAGE))
    collect_responses(base, Battery("pulse", LANGUAGE, side="tune"), keep)
    own_answers(base.base, LANGUAGE, 4096, keep)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precisions", default="float32,bfloat16")
    parser.add_argument("--keep", type=Path, help="a folder to go on in, after a stop")
    args = parser.parse_args()
    kept.shipped = dict  # type: ignore[assignment]  # asked anew, not copied from the file that is made
    keep = args.keep or Path(tempfile.mkdtemp())
    keep.mkdir(parents=True, exist_ok=True)
    for precision in args.precisions.split(","):
        ask(precision == "bfloat16", keep)
    with zipfile.ZipFile(kept.SHIPPED, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
        for path in sorted(keep.glob("*.json")):
            info = zipfile.ZipInfo(path.name)  # of no date: the same answers make the same file
            info.compress_type = zipfile.ZIP_DEFLATED
            file.writestr(info, path.read_bytes())
    print(f"{kept.SHIPPED}: {len(list(keep.glob('*.json')))} question sets, {kept.SHIPPED.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
