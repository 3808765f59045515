"""One `trimtab tune` of the tiny model for the kill tests: run as a process of its own, killed from outside."""

import sys

import trimtab.tuning.coach as coach
from trimtab.api.tune import tune
from trimtab.run import machine
from trimtab.workers import specs


def main(data: str, out: str) -> None:
    coach.EXTENSIONS = 0
    machine.free_cores = lambda _cores: 1  # the same sums in the same order
    specs.WorkerSpec.model_fields["save_every"].default = 0.0
    specs.WorkerSpec.model_rebuild(force=True)
    own = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, "num_train_epochs": 2.0, "r": 2,
           "max_length": 64, "bf16": False, "lora_dropout": 0.1, "lora_alpha": 4.0, "eval_steps": 0.5}  # fmt: skip
    result = tune("bundled:tiny", data, out=out, own=own)
    print("DONE", result["run"], result["gain"]["value"], result["verdict"])


if __name__ == "__main__":
    main(*sys.argv[1:])
