"""One `trimtab tune` of the tiny model for the kill tests: run as a process of its own, killed from outside."""

import sys

import trimtab.tune.coach as coach
import trimtab.tune.worker as worker
from trimtab import api
from trimtab.run import machine


def main(data: str, out: str) -> None:
    coach.EXTENSIONS = 0
    plain = machine.look
    machine.look = lambda _threads=None: plain(1)  # the same sums in the same order
    init = worker.Worker.__init__

    def often(self, *args, **kwargs):
        init(self, *args, **kwargs)
        self.save_every = 0.0

    worker.Worker.__init__ = often
    own = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, "num_train_epochs": 2.0, "r": 2,
           "max_length": 64, "bf16": False, "lora_dropout": 0.1, "lora_alpha": 4.0, "eval_steps": 0.5}  # fmt: skip
    result = api.tune("bundled:tiny", data, out=out, own=own)
    print("DONE", result["run"], result["gain"]["value"], result["verdict"])


if __name__ == "__main__":
    main(*sys.argv[1:])
