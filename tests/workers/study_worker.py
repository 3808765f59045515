"""One study of the tiny model for the kill tests, run as a process of its own: its tuner. Its workers are processes
or Ray tasks."""

import json
import sys
from pathlib import Path

from trimtab.api.study import study
from trimtab.run import machine
from trimtab.spec.options import StudyOptions
from trimtab.spec.recipe import Recipe
from trimtab.workers import specs


def main(data: str, out: str, on: str) -> None:
    machine.free_cores = lambda _cores: 1  # the same sums in the same order
    specs.WorkerSpec.model_fields["save_every"].default = 0.0
    specs.WorkerSpec.model_fields["mode"].default = "certify"
    specs.WorkerSpec.model_rebuild(force=True)
    recipe = Recipe(
        model="bundled:tiny",
        data=data,
        r=2,
        lora_alpha=4,
        lora_dropout=0.1,
        max_length=64,
        bf16=False,
        per_device_train_batch_size=4,
        num_train_epochs=2,
        eval_steps=0.25,
        learning_rate=1e-3,
    )
    where = {"on": on} if on != "here" else {}
    where |= {"workers": 2} if on == "local" else {}
    found = study(
        "scan", recipe, ["learning_rate=1e-4,1e-2"], seeds=2, options=StudyOptions(cohort=2, out=Path(out), **where)
    )
    print("DONE", json.dumps([c["losses"] for c in found["cells"]]), found["sentence"])


if __name__ == "__main__":
    main(*sys.argv[1:])
