"""One steady training step under fake tensors -> bytes and FLOPs, phase by phase. Takes a config and a workload.

Five layers are traced and deepened (timeline.py); where the middle layers differ, or there are few, the whole model is.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from trimtab.errors import ForecastRefused, ModelError, TrimtabError
from trimtab.forecasting import kernels, skeleton, step
from trimtab.forecasting.allocator import WORKSPACES, held
from trimtab.forecasting.meter import ROUND, Meter
from trimtab.forecasting.step import TracedStep, TrainerStep
from trimtab.forecasting.timeline import BEFORE, MIDDLE, SHORT, Event, Place, deepen, peaks
from trimtab.spec.workload import Workload


@dataclass(frozen=True)
class StepTrace:
    """Bytes of one device; workspaces of cuBLAS and the context are not in here."""

    phases: dict[str, dict[str, int]]  # what was there at the highest moment of each phase, by kind
    reserved: list[int]  # two training steps through the caching allocator, for each of its WORKSPACES
    reserved_expandable: list[int]
    flops: int  # of one optimizer step
    below: int  # of them, those below every trained layer: our own loop takes them once for each example
    layers: int
    parameters: int
    trainable: int
    root: int  # parameters outside the layers
    whole: bool  # traced at full depth
    seconds: float

    @property
    def at(self) -> str:
        """The phase of the highest moment of training."""
        return max((p for p in self.phases if not _evaluates(p)), key=lambda p: sum(self.phases[p].values()))

    @property
    def allocated(self) -> int:
        return sum(self.phases[self.at].values())

    @property
    def evaluation(self) -> int:
        return max((sum(t.values()) for p, t in self.phases.items() if _evaluates(p)), default=0)


def _evaluates(phase: str) -> bool:
    return phase.startswith("evaluation")


def trace(config: Any, w: Workload, task: str, whole: bool = False) -> StepTrace:
    """Raises ForecastRefused with the reason where the model's code cannot be traced."""
    began = time.perf_counter()
    depth = getattr(config.get_text_config(), "num_hidden_layers", None)
    whole = whole or w.layers_to_transform is not None  # a short copy has too few to tell them apart
    if depth is not None and depth > SHORT and not whole:
        # Middle layers repeat each other: five tell of eighty. The refusal to read here is "the middle layers differ"
        # (hybrids, mixtures that begin dense): only then is the time of the whole model worth it.
        try:
            shots = _shoot(skeleton.shortened(config, SHORT), w, task)
            return _summary(shots, w, depth, time.perf_counter() - began)
        except ForecastRefused as refused:
            if "layer" not in str(refused):
                raise
    return _summary(_shoot(config, w, task), w, None, time.perf_counter() - began)


@dataclass
class _Shots:
    """What one traced model gave."""

    events: list[Event]  # without the optimizer's step
    flops: dict[Place, int]
    parameters: list[tuple[int | None, int]]  # layer and size of each parameter of the model
    job: TracedStep
    depth: int


def _shoot(config: Any, w: Workload, task: str) -> _Shots:
    try:
        with _quiet():
            return _traced(skeleton.bare(config, w, task), w)
    except (TrimtabError, MemoryError):
        raise
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ForecastRefused(
            f"{config.model_type} could not be traced ({type(error).__name__}: {reason[:160]})"
        ) from error


def _traced(model: nn.Module, w: Workload) -> _Shots:
    cuda = w.device == "cuda"
    meter = Meter(kernels.transient if cuda else None, kernels.flops, ROUND if cuda else 1)
    stack = skeleton.layers_of(model)
    layer_in = step.layer_finder(model)
    parameters = [
        (layer_in(n), p.numel() * (2 if p.dtype == torch.uint8 else 1))
        for n, p in model.named_parameters()
        if ".lora_" not in n
    ]
    # Fake tensors have shapes and no storage, so a 70B model takes a step on a laptop. What a kernel would take behind
    # the dispatcher's back (attention's scratch, cuBLAS) is not seen there: `kernels.transient` adds it.
    with skeleton.as_on_a_card(w.padded, w.autocast != "no"), FakeTensorMode():
        skeleton.materialise(model)
        job = _job(model, w, meter)
        with meter:
            job.forward_backward()
            meter.go("clear")
            job.clear()
            job.evaluate()
    return _Shots(meter.named_events(), dict(meter.flops), parameters, job, len(stack[1]) if stack else 1)


def _job(model: nn.Module, w: Workload, meter: Meter) -> TracedStep:
    if w.trainer == "transformers":
        return TrainerStep(model, w, meter)
    from trimtab.forecasting.own_step import OwnStep

    return OwnStep(model, w, meter)


def _summary(shots: _Shots, w: Workload, depth: int | None, seconds: float) -> StepTrace:
    layers = depth or shots.depth

    def times(layer: int | None) -> int:  # how often a traced layer stands in the deep model
        return layers - SHORT + 1 if depth and layer == MIDDLE else 1

    events = deepen(shots.events, layers) if depth else shots.events
    events = _completed(events, w, shots.job, times)
    training = [e for e in events if not _evaluates(e.at.phase)]
    parameters = sum(n * times(layer) for layer, n in shots.parameters)
    return StepTrace(
        phases={name: p.by_kind for name, p in peaks(events, layers).items()},
        reserved=[held(training, size) for size in WORKSPACES],
        reserved_expandable=[held(training, size, expandable=True) for size in WORKSPACES],
        flops=_flops(shots.flops, w, times),
        below=_flops(_below(shots, w), w, times),
        layers=layers,
        parameters=parameters,
        root=sum(n for layer, n in shots.parameters if layer is None),
        trainable=sum(shape.numel() for shape, _ in shots.job.update_shapes(times)),
        whole=depth is None,
        seconds=seconds,
    )


def _below(shots: _Shots, w: Workload) -> dict[Place, int]:
    """What the frozen lower layers take in a forward pass; the pull's rows pass them each time (run/anchor.py). Of a
    head alone all of it: what the head itself takes is next to nothing."""
    lower = range(w.first_trained(0) if w.trainer == "trimtab" else 0)
    forward = {p: f for p, f in shots.flops.items() if p.phase == "forward"}
    return {p: f for p, f in forward.items() if w.head_alone or p.layer in lower}


def _flops(of: Mapping[Place, int], w: Workload, times: Any) -> int:
    """Of one optimizer step."""
    counted = {p: f * times(p.layer) for p, f in of.items() if not _evaluates(p.phase)}
    if w.trainer == "transformers":
        # Two micro-batches are traced: the first allocates the gradients, the second adds to them, and every further
        # one is like the second.
        return sum(counted.values()) * w.gradient_accumulation_steps // min(2, w.gradient_accumulation_steps)
    # Our own loop keeps flat gradients, so its first pass is like all others; a second one is the pull, once a step.
    held = sum(f for p, f in counted.items() if p.phase.endswith(" 2"))
    return (sum(counted.values()) - held) * w.gradient_accumulation_steps + held


def _completed(events: list[Event], w: Workload, job: TracedStep, times: Any) -> list[Event]:
    """With what belongs to the whole depth at once: flat vectors before the step, the optimizer's update after it."""
    # These tensors are as large as all layers together, so they cannot be deepened layer by layer: they are made for
    # the full depth and put in at their two places of the timeline.
    meter = Meter(round_to=ROUND if w.device == "cuda" else 1)
    with FakeTensorMode():
        step.update(w, job.update_shapes(times), meter)
    begin = next(i for i, e in enumerate(events) if e.at.phase not in BEFORE)
    end = next((i for i, e in enumerate(events) if e.at.phase == "clear"), None)
    end = end if end is not None else next((i for i, e in enumerate(events) if e.at.phase == "evaluation"), len(events))
    return [*events[:begin], *job.resident(times), *events[begin:end], *meter.events, *events[end:]]


class _quiet(warnings.catch_warnings):
    """Deprecations of libraries that call each other are not the reader's business."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.simplefilter("ignore")
        logging.getLogger("torch._subclasses.fake_tensor").setLevel(logging.CRITICAL)


def trace_config(config: dict[str, Any], w: Workload) -> dict[str, Any]:
    """From config.json's values to plain data, with eager attention where the architecture has no other."""
    from transformers import AutoConfig

    values = {k: v for k, v in config.items() if k not in ("model_type", "torch_dtype", "dtype", "architectures")}
    try:
        built = AutoConfig.for_model(config["model_type"], **values)
    except Exception as error:
        if "Unrecognized model" in str(error):
            raise ForecastRefused(
                f"transformers {_version()} has no architecture called {config['model_type']}"
            ) from None
        told = " ".join(str(error).split())[:200]
        raise ModelError(f"config.json is refused by transformers {_version()}: {told}") from None
    try:
        traced = trace(built, w, w.task)
        attention = w.attn_implementation
    except ForecastRefused as refused:
        if "no sdpa" not in str(refused):
            raise
        attention = "eager"
        traced = trace(built, w.but(attn_implementation="eager"), w.task)
    return {**asdict(traced), "attention": attention}


def _version() -> str:
    import transformers

    return str(transformers.__version__)
