"""Runs that hand over a share of an adapter: no training, but the whole run's best weights at `adapter_scale`. Takes a
trained run, leaves a run of its own, evaluated as it is handed over.

The share lies in lora_alpha, and in the values of what is trained whole, so that PEFT loads the adapter as it is.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import load_file, save_file

from trimtab.analysis.stats import average
from trimtab.errors import RunError
from trimtab.run.base import Base
from trimtab.run.checkpoint import PREFIX, WEIGHTS, load_adapter, whole_in
from trimtab.run.cohort import Cohort, Evaluation
from trimtab.run.member import Member
from trimtab.spec.files import write_whole
from trimtab.spec.recipe import Recipe
from trimtab.spec.status import Cause, Status
from trimtab.store import Store


def wholes(recipes: Sequence[Recipe], store: Store, study: str | None) -> list[Recipe]:
    """What has to be trained for these: each whole run once, and not where it has ended well already."""
    for whole in (r.whole for r in recipes if r.whole != r):
        store.add_run(whole, study)
    named = {r.whole.run_id: r.whole for r in recipes}
    due = [r for r in named.values() if r in recipes or not _ended(store, r)]
    for recipe in due:
        store.go_on(recipe.run_id)
    return due


def _ended(store: Store, recipe: Recipe) -> bool:
    row = store.run(recipe.run_id)
    return row.status.is_finished() and row.result.get("cause") not in (Cause.ASKED, Cause.LIMIT, Cause.ERROR)


def hand_over(recipe: Recipe, base: Base, store: Store) -> Path:
    """The whole run's best adapter at this share, in the run's own folder. RunError where it left none."""
    runs = store.folder / "runs"
    trained = runs / recipe.whole.run_id / "best"
    if not trained.exists():
        why = store.run(recipe.whole.run_id).reason
        raise RunError(f"{recipe.whole.run_id} left no adapter to take a share of{f' ({why})' if why else ''}")
    config = json.loads((trained / "adapter_config.json").read_text())
    config["lora_alpha"] = recipe.lora_alpha * recipe.adapter_scale
    tensors = load_file(trained / WEIGHTS)
    own = base.learning.scaled(base, whole_in(tensors), recipe.adapter_scale)
    shared = {PREFIX + k: v.contiguous() for k, v in own.items()}
    for name in ("best", "last"):
        folder = runs / recipe.run_id / name
        shutil.copytree(trained, folder, dirs_exist_ok=True)
        if shared:
            save_file({**tensors, **shared}, folder / WEIGHTS, metadata={"format": "pt"})
        write_whole(folder / "adapter_config.json", json.dumps(config, indent=2))
    return runs / recipe.run_id / "best"


def evaluated(best: Path, base: Base, cohort: Cohort) -> tuple[Member, Evaluation]:
    """`cohort` of this one recipe, whose adapter is replaced by what was handed over."""
    member = cohort.members[0]
    member.adapter = load_adapter(best, base)
    (evaluation,) = cohort.evaluate([member], cohort.data.splits["validation"])
    return member, evaluation


def book(recipe: Recipe, evaluation: Evaluation, pulse: dict[str, list[float]], store: Store) -> None:
    """One evaluation and the end of the run; what the whole run took is booked there alone."""
    whole, loss = store.run(recipe.whole.run_id), average(evaluation.losses)
    step = int(whole.result.get("best_step") or 0)
    store.log_evaluation(
        run=recipe.run_id, step=step, share=1.0, loss=loss, items=evaluation.losses,
        pulse=pulse | {"right": evaluation.right, "sure": evaluation.sure},
    )  # fmt: skip
    store.update_run(
        recipe.run_id, status=Status.COMPLETE, reason=None, total_steps=whole.total_steps,
        result={"best_loss": loss, "best_step": step, "size": 0, "seconds": 0.0, "step": step, "cause": None},
    )  # fmt: skip
