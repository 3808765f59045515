"""From one run to another, one setting at a time: which change did it. Takes a Trainer and two recipes, gives the
steps in order.

The ablation path of Fawcett and Hoos (2016): of the settings that still differ, the one that lowers the loss most
goes first. Intermediate runs that are in the store are looked up; k settings take at most k(k−1)/2 others. A step's
size depends on those before it. No torch.
"""

from __future__ import annotations

from typing import Any

from trimtab.analysis import stats
from trimtab.errors import SpecError
from trimtab.planning.design import EFFECTIVE, with_settings
from trimtab.spec.recipe import Recipe
from trimtab.spec.words import words_of
from trimtab.tuning.choice import Outcome
from trimtab.tuning.desk import Desk
from trimtab.tuning.study_evidence import varied


def differences(first: Recipe, last: Recipe) -> dict[str, Any]:
    """What `last` has otherwise than `first`; the same material and seed, or SpecError."""
    unlike = [k for k in ("model", "data", "fingerprint", "seed") if getattr(first, k) != getattr(last, k)]
    ways = varied([first, last])[1]
    problems = [f"the runs differ in {k}: a path is walked on the same material with one seed" for k in unlike]
    if not problems and len(ways) < 2:
        problems = [f"the runs differ in {', '.join(ways) or 'nothing'}; a path needs two settings or more"]
    if problems:
        raise SpecError("trimtab study path", problems)
    return ways


class AblationPath:
    """From one recipe to another; at each place the change that lowers the loss most goes first."""

    def __init__(self, desk: Desk, first: Recipe, last: Recipe):
        self.desk, self.first, self.last = desk, first, last

    def run(self) -> dict[str, Any]:
        """{"steps": [{"setting", "to", "run", "loss", "step", "others"}], "sentence", …}, as stored with the study."""
        left, trainer = differences(self.first, self.last), self.desk.trainer
        count = len(left)
        self.desk.say(f"{count} settings differ: at most {count * (count + 1) // 2 - 1} runs between the two")
        (here,) = trainer.train([self.first], reopen=True)
        (end,) = trainer.train([self.last], reopen=True)
        rows: list[dict[str, Any]] = []
        while left:
            tried = self._try(here.recipe, left, end)
            name, taken = min(tried.items(), key=lambda kv: kv[1].loss)
            rows.append(_row(name, left[name], here, taken, {k: v.loss for k, v in tried.items() if k != name}))
            here = taken
            del left[name]
        words = words_of(self.first.task)
        sentence = _sentence(rows, rows[-1]["loss"] - rows[0]["from"], words.unit)
        result = {
            "kind": "path",
            "question": f"Which change led from {self.first.run_id} to {self.last.run_id}?",
            "steps": rows,
            "runs": [self.first.run_id, self.last.run_id],
            "words": words.shown(),
            "sentence": sentence,
        }
        self.desk.say(sentence)
        self.desk.finish(result=result)
        return result

    def _try(self, here: Recipe, left: dict[str, Any], end: Outcome) -> dict[str, Outcome]:
        """Each of the remaining changes alone; the last one ends at the second run itself."""
        if len(left) == 1:
            return {next(iter(left)): end}
        made = {name: _with(here, name, value, self.last) for name, value in left.items()}
        groups = self.desk.trainer.train(list(made.values()), reopen=True)
        return dict(zip(made, groups, strict=True))


def _with(here: Recipe, name: str, value: Any, last: Recipe) -> Recipe:
    if name == EFFECTIVE:
        return here.but(
            per_device_train_batch_size=last.per_device_train_batch_size,
            gradient_accumulation_steps=last.gradient_accumulation_steps,
        )
    return with_settings(here, {name: value})


def _row(name: str, value: Any, before: Outcome, after: Outcome, others: dict[str, float]) -> dict[str, Any]:
    gap = stats.paired(after.items, before.items)
    step = {"value": gap.value, "low": gap.low, "high": gap.high} if gap else None
    return {
        "setting": name,
        "to": value,
        "run": after.recipe.run_id,
        "from": before.loss,
        "loss": after.loss,
        "step": step,
        "others": others,
    }


def _sentence(rows: list[dict[str, Any]], whole: float, unit: str) -> str:
    most = max(rows, key=lambda r: abs(r["loss"] - r["from"]))
    size = most["loss"] - most["from"]
    sure = most["step"] and (most["step"]["low"] > 0 or most["step"]["high"] < 0)
    noise = "" if sure else ", which the held-out examples cannot tell from nothing"
    # One seed: how far another seed would move a step is not known here.
    return (
        f"Of {whole:+.3f} {unit} the largest step is {most['setting']} ({size:+.3f}){noise}; in this order. One seed,"
        f" so that what a seed alone moves is in every step: {', then '.join(r['setting'] for r in rows)}."
    )
