"""One training step as transformers' Trainer with PEFT takes it, told to a meter. Takes a model, gives events.

Torch decides what is allocated; this file only decides the order of the calls and where a layer begins and ends.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from torch import nn

from trimtab.forecasting import stubs
from trimtab.forecasting.meter import Meter
from trimtab.forecasting.skeleton import layers_of, task_of
from trimtab.forecasting.timeline import Event
from trimtab.spec.workload import Workload

Times = Callable[[int | None], int]  # how often a layer of the short model stands in the deep one
AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


def weights(model: nn.Module, meter: Meter) -> None:
    """Tell the meter what is there before the step, layer by layer."""
    layer_in = layer_finder(model)
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        kind = "adapter" if tensor.requires_grad and ".lora_" in name else "weights"
        meter.go("weights", layer_in(name), kind)
        meter.add(tensor)


def layer_finder(model: nn.Module) -> Callable[[str], int | None]:
    """Says to which layer a parameter (or module) called so belongs."""
    stack = layers_of(model)
    head = stack[0] + "." if stack else None
    return lambda name: int(name[len(head) :].split(".", 1)[0]) if head and name.startswith(head) else None


def follow(model: nn.Module, meter: Meter, stage: Callable[[], str]) -> None:
    """Hooks that tell the meter which layer is at work; `stage` says "forward", "forward 2", … or nothing of
    interest."""
    stack = layers_of(model)
    if stack is None:
        return
    for i, layer in enumerate(stack[1]):
        layer.register_forward_pre_hook(_enter(meter, stage, i))
        layer.register_forward_hook(_leave(meter, stage, i, len(stack[1])))


def _enter(meter: Meter, stage: Callable[[], str], i: int) -> Any:
    def enter(*_: Any) -> None:
        if stage().startswith(("forward", "evaluation")):
            meter.go(stage(), i)

    return enter


def _leave(meter: Meter, stage: Callable[[], str], i: int, layers: int) -> Any:
    def leave(_module: Any, _args: Any, out: Any) -> None:
        name = stage()
        if not name.startswith(("forward", "evaluation")):
            return
        if i == layers - 1:
            meter.go(name.replace("forward", "head"), None, "logits and loss")
        while isinstance(out, tuple | list):
            out = out[0]
        if out.requires_grad:
            out.register_hook(lambda _g: meter.go(name.replace("forward", "backward"), i, "backward"))

    return leave


class TracedStep(Protocol):
    """A trainer's step as the trace asks for it."""

    def forward_backward(self) -> None: ...
    def clear(self) -> None: ...
    def evaluate(self) -> None: ...
    def resident(self, times: Times) -> list[Event]: ...
    def update_shapes(self, times: Times) -> list[tuple[torch.Size, torch.dtype]]: ...


class TrainerStep:
    """One optimizer step of one device: every micro-batch that can matter, then the update."""

    def __init__(self, model: nn.Module, w: Workload, meter: Meter):
        self.model, self.w, self.meter, self.stage = model, w, meter, "set up"
        weights(model, meter)
        self.optimizer = warm_up(w, model, meter)
        self.trained = [p for p in model.parameters() if p.requires_grad]
        follow(model, meter, lambda: self.stage)

    def forward_backward(self) -> None:
        """Two micro-batches stand for many: gradients of the first are there while the second runs."""
        for i in range(min(2, self.w.gradient_accumulation_steps)):
            self.stage = f"forward {i + 1}" if i else "forward"
            self.meter.go(self.stage, None, "activations")
            loss = self._loss()
            self.meter.go(self.stage.replace("forward", "head backward"), None, "backward")
            self.stage = "recomputing"
            loss.backward()
            del loss
            self.stage = "between"
        self.meter.name((p.grad for p in self.trained if p.grad is not None), "gradients")

    def _loss(self) -> torch.Tensor:
        """Outputs die with this frame, as in Trainer.compute_loss."""
        w = self.w
        with self.autocast():
            if w.use_liger_kernel and task_of(bottom(self.model)) == "sft":
                return stubs.FusedHead.apply(*self._head_inputs())
            if w.linear_cross_entropy:
                x, weight = self._head_inputs()
                return _linear_cross_entropy(x, weight)
            out = self.model(**self._batch())
            return out.loss

    def autocast(self) -> AbstractContextManager[Any]:
        w = self.w
        return nullcontext() if w.autocast == "no" else torch.autocast("cpu", dtype=AUTOCAST[w.autocast])

    def _batch(self) -> dict[str, torch.Tensor]:
        return batch(self.w, task_of(bottom(self.model)), self.w.per_device_train_batch_size)

    def _head_inputs(self) -> tuple[torch.Tensor, torch.Tensor]:
        model: Any = bottom(self.model)
        inputs = {k: v for k, v in self._batch().items() if k != "labels"}
        hidden = getattr(model, model.base_model_prefix)(**inputs)[0]
        return hidden[:, :-1].reshape(-1, hidden.shape[-1]), model.get_output_embeddings().weight

    def clear(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)

    def resident(self, times: Times) -> list[Event]:  # noqa: ARG002
        """Nothing beyond what the meter was told layer by layer."""
        return []

    def update_shapes(self, times: Times) -> list[tuple[torch.Size, torch.dtype]]:
        layer_in = layer_finder(self.model)
        named = [(layer_in(n), p) for n, p in self.model.named_parameters() if p.requires_grad]
        return [(p.shape, p.dtype) for layer, p in named for _ in range(times(layer))]

    def evaluate(self) -> None:
        """One batch of Trainer's evaluation loop: logits kept, as it gathers them."""
        self.stage = "evaluation"
        self.meter.go("evaluation", None, "evaluation")
        with torch.no_grad(), self.autocast():
            out = self.model(**batch(self.w, task_of(bottom(self.model)), self.w.eval_rows))
        del out
        self.stage = "between"


def _linear_cross_entropy(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    functional: Any = nn.functional  # chunked when it is given options; new in torch 2.13
    labels = torch.zeros(x.shape[0], dtype=torch.long)
    return functional.linear_cross_entropy(x, weight, labels, options=nn.modules.LinearCrossEntropyOptions())


def bottom(model: nn.Module) -> nn.Module:
    """The transformers model inside PEFT's wrappers."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model  # type: ignore[operator]


def batch(w: Workload, task: str, rows: int) -> dict[str, torch.Tensor]:
    if task == "image-classification":
        side = w.max_length
        return {"pixel_values": torch.ones(rows, 3, side, side), "labels": torch.ones(rows, dtype=torch.long)}
    ids = torch.ones(rows, w.max_length, dtype=torch.long)
    labels = ids if task == "sft" else torch.ones(rows, dtype=torch.long)
    inputs = {"input_ids": ids, "labels": labels}
    if w.padded:
        inputs["attention_mask"] = torch.ones(rows, w.max_length, dtype=torch.long)
    return inputs


def make_optimizer(w: Workload, parameters: Sequence[torch.Tensor]) -> torch.optim.Optimizer:
    if w.optim == "sgd":
        return torch.optim.SGD(parameters, lr=1e-3)
    if w.optim == "adamw_bnb_8bit":
        return stubs.Adam8Bit(parameters)
    if w.optim.startswith("paged"):
        return stubs.Paged(parameters)
    if w.optim == "adamw_torch_fused":
        return torch.optim.AdamW(parameters, lr=1e-3, fused=True)
    return torch.optim.AdamW(parameters, lr=1e-3, foreach=w.device == "cuda")  # torch's own default


def warm_up(w: Workload, model: nn.Module, meter: Meter) -> torch.optim.Optimizer:
    """The optimizer as it is after its first step; its moments told to the meter, layer by layer."""
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    for _, p in named:
        p.grad = torch.zeros_like(p)
    optimizer = make_optimizer(w, [p for _, p in named])
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    layer_in = layer_finder(model)
    for name, p in named:
        meter.go("optimizer state", layer_in(name), "optimizer")
        for value in optimizer.state[p].values():
            if value.dim():  # the step count stays on the host
                meter.add(value)
    return optimizer


def update(w: Workload, shapes: Iterable[tuple[torch.Size, torch.dtype]], meter: Meter) -> None:
    """The optimizer's step over parameters of these shapes: only what it takes beyond parameters, gradients and
    moments."""
    if w.trains_adapter:  # small and many: as one tensor they weigh the same and are traced at once
        together = Counter[torch.dtype]()
        for shape, dtype in shapes:
            together[dtype] += shape.numel()
        shapes = [(torch.Size([n]), dtype) for dtype, n in together.items()]
    parameters = [nn.Parameter(torch.empty(s, dtype=d)) for s, d in shapes]
    for p in parameters:
        p.grad = torch.empty_like(p)
    optimizer = make_optimizer(w, parameters)
    optimizer.step()  # makes the moments
    moments = [v for state in optimizer.state.values() for v in state.values()]
    meter.overlook([*parameters, *(p.grad for p in parameters if p.grad is not None), *moments])
    with meter:
        meter.go("update", None, "optimizer step")
        if w.trainer == "transformers":
            torch.nn.utils.clip_grad_norm_(parameters, 1.0, foreach=True)
        optimizer.step()
