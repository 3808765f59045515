"""From what a person gave to a workload and a card: a YAML file, flags, settings. Takes plain values, gives both. No
torch."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trimtab.errors import SpecError
from trimtab.forecasting.lengths import lengths
from trimtab.forecasting.source import sized
from trimtab.planning.catalogue import Device, find_device
from trimtab.planning.precision import computes_bf16
from trimtab.spec.recipe import Recipe
from trimtab.spec.workload import Workload
from trimtab.spec.yaml_file import check, read_mapping, split_overrides


def workload(
    file: str | Path | None, settings: Sequence[str], own: Mapping[str, Any], device: Device | None, count: int
) -> Workload:
    """`own` are flags; settings win over the file, flags over both. All problems are raised together."""
    values, problems = split_overrides(settings)
    given = read_mapping(Path(file)) if file else {}
    where = str(file or "forecast")
    if (
        given.get("trainer", "trimtab") != "trimtab"
    ):  # a plan for other trainers also names what memory does not depend on
        given = {k: v for k, v in given.items() if k in Workload.model_fields}
    told = {**given, **values, **own}
    if count > 1:
        if told.get("devices", count) != count:
            problems.append(f"devices: got {told['devices']}, but {count} cards are named; give one of them")
        values["devices"] = count
        values.setdefault("sharding", given.get("sharding", "ddp"))
    if "data" in given:
        recipe_keys = {k: v for k, v in {**values, **own}.items() if k in Recipe.model_fields}
        rest = {k: v for k, v in {**values, **own}.items() if k not in Recipe.model_fields}
        recipe = sized(check(Recipe, {**given, **recipe_keys}, where, problems))
        measured = lengths(recipe)
        more = {"device": device_of(device), **(measured.as_workload() if measured else {})}
        if measured:
            more["examples"] = recipe.rows(measured.examples)
            if problem := recipe.stop_problem(recipe.steps(measured.examples)):
                raise SpecError(where, [problem])
        started = Workload.of_recipe(recipe, bf16_of(recipe, device), **more)
        if rest.get("sharding") and started.trainer == "trimtab":
            rest = {"trainer": "transformers", **rest}
        return check(Workload, {**started.model_dump(), **rest}, where)
    merged = {"device": device_of(device), **given, **values, **own}
    if merged["device"] == "cpu" and "dtype" not in merged:
        merged |= {"dtype": "float32", "autocast": merged.get("autocast", "no")}
    if "model" not in merged:
        problems.append('"model" is missing: give a recipe file, or --model')
        merged["model"] = "-"
    return check(Workload, merged, where, problems)


def device_named(gpu: str | None) -> tuple[Device | None, int]:
    """The named card; else what this machine has: its card, or its memory."""
    if gpu is not None:
        return find_device(gpu)
    return _own_card() or this_machine(), 1


def device_of(device: Device | None) -> str:
    """ "cpu" or "cuda"."""
    return "cpu" if device is not None and device.name == THIS_MACHINE else "cuda"


THIS_MACHINE = "this machine"


def this_machine() -> Device:
    """Its card, else its processor."""
    import psutil

    return Device(THIS_MACHINE, psutil.virtual_memory().total)


def _own_card() -> Device | None:
    """As the driver tells it; torch is not asked, it takes seconds to load."""
    if not shutil.which("nvidia-smi"):
        return None
    asked = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=True).stdout.splitlines()[0]
        name, mib = (part.strip() for part in told.rsplit(",", 1))
        memory = int(mib) * 2**20
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None
    try:
        known, _ = find_device(name)
    except SpecError:
        return Device(name, memory)
    return Device(name, memory, known.bf16, known.fp16, known.fp32, known.bandwidth)


def bf16_of(recipe: Recipe, device: Device | None) -> bool:
    """The recipe's word, else whether the device computes bfloat16 fast."""
    if recipe.bf16 is not None:
        return recipe.bf16
    return computes_bf16(device, device_of(device) == "cpu")
