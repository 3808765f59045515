"""Saving and continuing. Takes a cohort and a folder, gives files that are whole or not there.

runs/RUN/best, runs/RUN/last    adapter in PEFT format (or the full model), safetensors only
runs/RUN/state-TAG.safetensors  weights, moments, random state; every scalar in its header
cohorts/COHORT.json             which TAG of each member is valid; replaced last, so it never points at half a file
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from trimtab.errors import ModelError, StoreError
from trimtab.run.adapters import Adapter, attach, find_targets
from trimtab.run.base import Base
from trimtab.run.cohort import Cohort
from trimtab.run.member import Member
from trimtab.run.whole_modules import attach_whole, modules_of
from trimtab.spec.files import write_whole

PREFIX, WEIGHTS = "base_model.model.", "adapter_model.safetensors"  # PEFT's
NO_TARGETS = "dummy-target-modules"  # PEFT's word for an adapter that is modules_to_save alone


class Checkpoints:
    """Saves and restores one cohort's members."""

    def __init__(self, folder: Path, cohort: str):
        self.folder, self.manifest = folder, folder / "cohorts" / f"{cohort}.json"

    def save(self, cohort: Cohort) -> None:
        """Everything that the next step depends on, of every member."""
        tags = self._tags()
        tag = max(tags.values(), default=-1) + 1
        for m in cohort.members:
            m.state.recent, m.state.high = list(m.guard.recent), m.guard.high
            tensors = {k: v.detach().contiguous() for k, v in m.tensors().items()}
            path = self._state(m.id, tag)
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file(tensors, path, metadata={"progress": json.dumps(asdict(m.state))})
        write_whole(self.manifest, json.dumps({**tags, **{m.id: tag for m in cohort.members}}))
        for m in cohort.members:
            for old in self._state(m.id, tag).parent.glob("state-*.safetensors"):
                if old != self._state(m.id, tag):
                    old.unlink(missing_ok=True)

    def restore(self, cohort: Cohort) -> None:
        """Members go on where the last save was, or begin; whoever is trained again after a stop goes on too."""
        tags = self._tags()
        for m in cohort.members:
            if m.id in tags and (path := self._state(m.id, tags[m.id])).exists():
                _load_state(m, path)
                m.go_on()

    def drop_state(self, member: Member) -> None:
        """A completed run needs only its weights; stopped ones keep their state and can go on."""
        for old in (self.folder / "runs" / member.id).glob("state-*.safetensors"):
            old.unlink(missing_ok=True)

    def _state(self, run: str, tag: int) -> Path:
        return self.folder / "runs" / run / f"state-{tag}.safetensors"

    def _tags(self) -> dict[str, int]:
        return json.loads(self.manifest.read_text()) if self.manifest.exists() else {}


def _load_state(member: Member, path: Path) -> None:
    with safe_open(path, "pt") as header:
        state = json.loads(header.metadata()["progress"])
    tensors = load_file(path)
    if tensors["random"].numel() != len(member.random_state()):
        raise StoreError(
            f"run {member.id} was begun on another kind of device (card or processor) than this one, and its random"
            " state cannot go on here: resume it there, or train its recipe anew in another --out"
        )
    member.load(tensors, state)


def export(member: Member, base: Base, folder: Path) -> None:
    """The member's weights as anybody loads them: `PeftModel.from_pretrained(base, folder)` or
    `from_pretrained(folder)`."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=folder.parent))
    try:
        if member.adapter is None:
            with base.divided(member.state.temperature):
                base.learning.save_model(base, scratch)
        else:
            _export_adapter(member, member.adapter, base, scratch)
            base.learning.save_beside(base, scratch)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)  # half an export is no export
        raise
    scratch.chmod(0o755)
    old = folder.with_name(folder.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    scratch.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _export_adapter(member: Member, adapter: Adapter, base: Base, folder: Path) -> None:
    ends = dict.fromkeys(base.ends, member.state.temperature)
    tensors = {f"{PREFIX}{n}": (p.detach() / ends.get(n, 1.0)).contiguous().cpu() for n, p in adapter.whole.items()}
    for name in adapter.A:
        tensors[f"{PREFIX}{name}.lora_A.weight"] = adapter.A[name].detach().contiguous().cpu()
        tensors[f"{PREFIX}{name}.lora_B.weight"] = adapter.B[name].detach().contiguous().cpu()
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    from peft import LoraConfig

    recipe = member.recipe
    LoraConfig(
        r=recipe.r,
        lora_alpha=recipe.lora_alpha,  # type: ignore[arg-type]
        lora_dropout=recipe.lora_dropout,
        task_type=base.learning.peft_type,
        modules_to_save=modules_of(adapter.whole, base.model) or None,
        target_modules=sorted(adapter.A) or NO_TARGETS,
        base_model_name_or_path=recipe.model,
        inference_mode=True,
    ).save_pretrained(str(folder))


def whole_in(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Of a saved adapter what is trained whole, by its names in the model."""
    return {k.removeprefix(PREFIX): v for k, v in tensors.items() if ".lora_" not in k}


def load_adapter(folder: Path, base: Base) -> Adapter:
    """An adapter in PEFT format onto the routed base: what `export` wrote, or what anybody's PEFT wrote."""
    try:
        config = json.loads((folder / "adapter_config.json").read_text())
        tensors = load_file(folder / WEIGHTS)
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelError(f"the adapter in {folder} cannot be read ({error}); train the run again") from None
    names = sorted(
        {k.removeprefix(PREFIX).removesuffix(".lora_A.weight") for k in tensors if k.endswith(".lora_A.weight")}
    )
    whole = whole_in(tensors)
    try:
        targets = find_targets(base.model, names, base.outside) if names else {}
    except ModelError as error:
        raise ModelError(f"the adapter in {folder} is for another base model: {error}") from None
    attach(base.model, targets, base.router)
    attach_whole(base.model, whole, base.router, base.ends)
    adapter = Adapter(targets, config["r"], config["lora_alpha"], 0.0, 0, str(base.device), whole)
    for name in names:
        for side, own in (("A", adapter.A[name]), ("B", adapter.B[name])):
            loaded = tensors[f"{PREFIX}{name}.lora_{side}.weight"]
            if loaded.shape != own.shape:
                raise ModelError(
                    f"the adapter in {folder} is for another base model: {name} has shape {tuple(loaded.shape)}, "
                    f"this base needs {tuple(own.shape)}"
                )
            own.data.copy_(loaded)
    adapter.training = False
    for p in adapter.parameters():
        p.requires_grad_(False)
    return adapter
