"""Image classification on tiny networks: trained, resumed, shared, loaded elsewhere; pictures varied the same way
whoever trains beside."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification
from typer.testing import CliRunner

from tests.conftest import tiny_network
from tests.killed import killed_and_gone_on
from trimtab.cli.main import app
from trimtab.run.adapters import Slice
from trimtab.run.checkpoint import export, load_adapter
from trimtab.run.cohort import Cohort
from trimtab.run.kept_states import body_of
from trimtab.spec.recipe import Recipe
from trimtab.store import Store
from trimtab.tasks.task import find_task

SILENT = lambda _text: None  # noqa: E731
VARIED = {"random_crop": 0.2, "random_flip": True, "color_jitter": 0.3}
RECIPE = (
    "model: {model}\ndata: {data}\ntask: image-classification\nmethod: full\nlearning_rate: 1e-3\n"
    "max_steps: {steps}\nper_device_train_batch_size: 8\nmax_length: 16\nbf16: false\nrandom_crop: 0.1\n"
)


ELSEWHERE = """
import torch
from transformers import AutoImageProcessor, AutoModelForImageClassification as Auto
from PIL import Image
pixels, ours = torch.load(sys.argv[2])
model = Auto.from_pretrained(sys.argv[1], trust_remote_code=True).eval()
with torch.no_grad():
    theirs = model(pixel_values=pixels).logits
assert torch.allclose(ours, theirs, atol=1e-4), (ours - theirs).abs().max()
prepare = AutoImageProcessor.from_pretrained(sys.argv[1])
made = prepare(images=[Image.open(sys.argv[3]).convert("RGB")], return_tensors="pt")["pixel_values"]
assert torch.allclose(made[0], pixels[0], atol=1e-4), (made[0] - pixels[0]).abs().max()
"""


@pytest.fixture(scope="module")
def task():
    return find_task("image-classification")


@pytest.fixture(scope="module")
def dataset(task, pictures_folder):
    return task.read(str(pictures_folder), SILENT)


def base_of(task, dataset, model, full=False):
    return task.load_base(model, dataset, task.processor(model, SILENT), full, False, "cpu", SILENT)


def recipe_of(model, data, method="lora", **more):
    settings = {"r": 4, "max_length": 16, "bf16": False, "per_device_train_batch_size": 8, "learning_rate": 3e-3}
    return Recipe(model=model, data=str(data), task="image-classification", method=method, **settings | more)


def trained(cohort, steps=5):
    for _ in range(steps):
        for member, (loss, size) in zip(cohort.members, cohort.forward_backward(cohort.members), strict=True):
            if member.accumulate(loss, size):
                member.update()
    groups = [m.adapter.parameters() if m.adapter else cohort.base.model.parameters() for m in cohort.members]
    return [[p.detach().clone() for p in group] for group in groups]


def outputs(task, base, batch, adapter=None):
    with torch.no_grad():
        return task.outputs(base, batch, [Slice(adapter, batch.rows, batch.length)] if adapter else [])


def trimtab(*args):
    result = CliRunner().invoke(app, [str(a) for a in args])
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


def written(tmp_path, model, data, steps=40):
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE.format(model=model, data=data, steps=steps))
    return path


def test_it_learns_what_it_is_shown(tmp_path, tiny_resnet, pictures_folder):
    text = trimtab("train", written(tmp_path, tiny_resnet, pictures_folder, 60), "--out", tmp_path / "out")
    assert re.search("Labels: (above|below|middle) [0-9]+", text)
    assert "20 × 16 pixels, given to the network as 16 × 16" in text
    (run,) = Store(tmp_path / "out").runs()
    losses = [e["loss"] for e in Store(tmp_path / "out").evaluations(run.id)]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("kind", ["resnet", "vit", "swin", "convnext", "small-net"])
def test_every_architecture_begins_at_its_probe_and_is_loaded_elsewhere(tmp_path, task, dataset, pictures_folder, kind):
    from trimtab.behaviour.frozen_probe import probe_of, read

    side = 32 if kind == "small-net" else 16
    model = tiny_network(tmp_path / "m", kind, side)
    base = base_of(task, dataset, model, full=True)
    recipe = recipe_of(model, pictures_folder, "full", max_length=side)
    data = task.encode(dataset, base.processor, recipe)
    base.begin(recipe)
    seen = read(base, None, data.splits["test"])
    probe = probe_of(base, data.splits["train"], data.splits["validation"], tmp_path)
    for one, other in zip(seen.probabilities, probe.of(seen.states), strict=True):
        assert one == pytest.approx(other, abs=1e-4)
    cohort = Cohort(base, [recipe], data)
    trained(cohort, 2)
    base.train(False)
    export(cohort.members[0], base, tmp_path / "out")
    batch = task.collate(base, data.splits["test"])
    ours, first = outputs(task, base, batch), data.splits["test"][0].picture.source
    if kind == "small-net":
        torch.save((batch.pixels, ours), tmp_path / "batch.pt")
        args = [sys.executable, "-c", f"import sys; sys.modules['trimtab'] = None\n{ELSEWHERE}"]
        args += [str(tmp_path / "out"), str(tmp_path / "batch.pt"), first]
        done = subprocess.run(args, capture_output=True, text=True, env={**os.environ, "HF_HOME": str(tmp_path / "hf")})
        assert done.returncode == 0, done.stderr[-2000:]
        return
    theirs = AutoModelForImageClassification.from_pretrained(tmp_path / "out").eval()
    assert list(theirs.config.id2label.values()) == ["above", "below", "middle"]
    made = AutoImageProcessor.from_pretrained(tmp_path / "out")(Image.open(first).convert("RGB"), return_tensors="pt")
    torch.testing.assert_close(made["pixel_values"][0], batch.pixels[0], atol=1e-4, rtol=0)
    with torch.no_grad():
        torch.testing.assert_close(theirs(pixel_values=batch.pixels).logits, ours, atol=1e-5, rtol=1e-4)


def test_peft_loads_an_adapter_with_its_head(tmp_path, task, dataset, tiny_vit, pictures_folder):
    from peft import PeftModel

    base, recipe = base_of(task, dataset, tiny_vit), recipe_of(tiny_vit, pictures_folder)
    data = task.encode(dataset, base.processor, recipe)
    cohort = Cohort(base, [recipe], data)
    trained(cohort)
    export(cohort.members[0], base, tmp_path / "adapter")
    batch = task.collate(base, data.splits["test"])
    ours = outputs(task, base, batch, cohort.members[0].adapter)
    assert torch.equal(outputs(task, base, batch, load_adapter(tmp_path / "adapter", base)), ours)
    theirs = AutoModelForImageClassification.from_pretrained(tiny_vit, num_labels=3, ignore_mismatched_sizes=True)
    theirs = PeftModel.from_pretrained(theirs, str(tmp_path / "adapter")).eval()
    with torch.no_grad():
        torch.testing.assert_close(theirs(pixel_values=batch.pixels).logits, ours, atol=1e-5, rtol=1e-4)


def test_members_of_a_cohort_are_the_runs_alone(task, dataset, tiny_vit, pictures_folder):
    """Also where they vary their pictures differently."""
    recipes = [recipe_of(tiny_vit, pictures_folder, **VARIED), recipe_of(tiny_vit, pictures_folder, seed=2)]
    data = task.encode(dataset, task.processor(tiny_vit, SILENT), recipes[0])
    alone = [trained(Cohort(base_of(task, dataset, tiny_vit), [r], data, "certify"))[0] for r in recipes]
    together = trained(Cohort(base_of(task, dataset, tiny_vit), recipes, data, "certify"))
    assert all(
        torch.equal(a, b) for one, other in zip(alone, together, strict=True) for a, b in zip(one, other, strict=True)
    )
    fast = trained(Cohort(base_of(task, dataset, tiny_vit), recipes, data))
    for one, other in zip(alone, fast, strict=True):
        for a, b in zip(one, other, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_a_smaller_micro_batch_changes_rounding_alone(task, dataset, tiny_resnet, pictures_folder):
    """Batch norms keep the statistics of the pretrained network, so a row does not depend on its neighbours."""
    found = []
    for micro in (8, 2):
        base = base_of(task, dataset, tiny_resnet, full=True)
        recipe = recipe_of(
            tiny_resnet, pictures_folder, "full", per_device_train_batch_size=micro,
            gradient_accumulation_steps=8 // micro, **VARIED,
        )  # fmt: skip
        cohort = Cohort(base, [recipe], task.encode(dataset, base.processor, recipe))
        buffers = {n: b.clone() for n, b in base.model.named_buffers()}
        (weights,) = trained(cohort, 8 // micro * 3)
        assert cohort.members[0].state.step == 3
        found.append(weights)
        assert all(torch.equal(b, buffers[n]) for n, b in base.model.named_buffers())
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_a_picture_is_varied_by_its_own_draw_alone(task, dataset, pictures_folder):
    from trimtab.datasets.picture_items import items_of
    from trimtab.tasks.pixels import Pixels

    recipe = recipe_of("x", pictures_folder, **VARIED)
    plain = items_of(dataset.examples["train"][:6], 16, ("above", "below", "middle"))
    some = [task.varied(item, recipe, f"3/{i}", plain) for i, item in enumerate(plain)]
    pixels = Pixels()
    together, alone = pixels.of(some), torch.cat([pixels.of([one]) for one in some])
    torch.testing.assert_close(together, alone)
    assert not torch.equal(together, pixels.of(plain))
    assert 0 <= float(together.min()) <= float(together.max()) <= 1
    again = [task.varied(item, recipe, f"4/{i}", plain) for i, item in enumerate(plain)]
    assert [a.varied.draw for a in again] != [a.varied.draw for a in some]
    mixed = pixels.of([some[0], plain[1]])  # a neighbour that is not varied stays as it is
    torch.testing.assert_close(mixed[1], pixels.of(plain[1:2])[0])


def test_a_flip_and_a_crop_are_what_they_are_called():
    from trimtab.datasets.picture_items import Varied
    from trimtab.tasks.pixels import varied

    picture = torch.arange(48.0).reshape(1, 3, 4, 4) / 48
    flipped = [varied(picture, [Varied(draw, 0.0, True, 0.0)]) for draw in range(40)]
    assert {torch.equal(f, picture) for f in flipped} == {True, False}
    assert all(torch.equal(f, picture) or torch.equal(f, picture.flip(-1)) for f in flipped)
    places = set()
    for draw in range(60):
        moved = varied(picture, [Varied(draw, 0.25, False, 0.0)])[0, 1]
        places.add(tuple((moved == picture[0, 1, 1, 1]).nonzero()[0].tolist()))
    assert places == {(a, b) for a in (0, 1, 2) for b in (0, 1, 2)}  # by a pixel at most, whole pixels alone


def test_smoothing_and_weights_are_torchs(task):
    from types import SimpleNamespace

    torch.manual_seed(0)
    logits, targets = torch.randn(5, 4), torch.tensor([0, 3, 1, 2, 0])
    smoothing, scale = torch.tensor([0.0, 0.1, 0.0, 0.3, 0.1]), torch.tensor([1.0, 2.0, 0.5, 1.0, 3.0])
    batch = SimpleNamespace(targets=targets, smoothing=smoothing, scale=scale, others=None)
    ours = task.unit_losses(logits, batch)
    for i in range(5):
        smoothed = torch.nn.functional.cross_entropy(logits[i], targets[i], label_smoothing=float(smoothing[i]))
        torch.testing.assert_close(ours[i], scale[i] * smoothed)


def test_balanced_weights_are_scikit_learns(task, dataset, pictures_folder):
    from sklearn.utils.class_weight import compute_class_weight

    uneven = replace(dataset, examples=dataset.examples | {"train": dataset.examples["train"][5:]})
    recipe = recipe_of("x", pictures_folder, class_weight="balanced")
    items = task.encode(uneven, None, recipe).splits["train"]
    labels = [i.label for i in items]
    theirs = compute_class_weight("balanced", classes=np.unique(labels), y=np.array(labels))
    assert [task.varied(i, recipe, "1/1", items).scale for i in items] == pytest.approx([theirs[x] for x in labels])
    assert all(i.scale == 1 for i in items)  # as it is evaluated
    plain = recipe_of("x", pictures_folder)
    assert all(task.varied(i, plain, "1/1", items).scale == 1 for i in items)


@pytest.mark.parametrize("metric", ["accuracy", "f1"])
def test_what_is_kept_is_the_best_by_the_metric_that_was_named(tmp_path, tiny_resnet, pictures_folder, metric):
    recipe = written(tmp_path, tiny_resnet, pictures_folder, 60)
    recipe.write_text(recipe.read_text() + f"eval_steps: 0.1\nmetric_for_best_model: {metric}\n")
    trimtab("train", recipe, "--out", tmp_path / "out")
    store = Store(tmp_path / "out")
    (run,) = store.runs()
    looks = store.evaluations(run.id)
    scores = [-e["pulse"]["score"][0] for e in looks]
    assert run.result["best_step"] == looks[scores.index(max(scores))]["step"]  # the first of equals
    if metric == "accuracy":
        assert scores == pytest.approx([sum(e["pulse"]["right"]) / len(e["items"]) for e in looks])


@pytest.mark.parametrize("how", [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.4, "cutmix": 1.0, **VARIED}])
def test_mixed_pictures_count_for_both_labels_by_what_is_seen_of_each(task, dataset, tiny_resnet, pictures_folder, how):
    base, recipe = (
        base_of(task, dataset, tiny_resnet, full=True),
        recipe_of(tiny_resnet, pictures_folder, "full", **how),
    )
    train = task.encode(dataset, base.processor, recipe).splits["train"]
    some = [task.varied(item, recipe, f"0/{i}", train) for i, item in enumerate(train[:12])]
    assert [task.varied(item, recipe, f"0/{i}", train) for i, item in enumerate(train[:12])] == some
    batch, first, second = (
        task.collate(base, items)
        for items in (some, [replace(s, mixed=None) for s in some], [s.mixed.other for s in some])
    )
    for row, item in enumerate(some):
        share = item.mixed.share
        if item.mixed.box is None:
            torch.testing.assert_close(batch.pixels[row], share * first.pixels[row] + (1 - share) * second.pixels[row])
        else:
            own = (batch.pixels[row] == first.pixels[row]).all(0)
            alike = (first.pixels[row] == second.pixels[row]).all(0)
            assert int((own & ~alike).sum()) <= round(share * 256) <= int(own.sum())
    outputs = torch.randn(len(some), 3)
    soft = torch.zeros(len(some), 3)
    for row, item in enumerate(some):
        soft[row, item.label] += item.mixed.share
        soft[row, item.mixed.other.label] += 1 - item.mixed.share
    theirs = torch.nn.functional.cross_entropy(outputs, soft, reduction="none")
    torch.testing.assert_close(task.unit_losses(outputs, batch), theirs)


def test_what_is_kept_of_pictures_is_bounded(dataset):
    from trimtab.datasets.picture_items import items_of
    from trimtab.tasks.pixels import Pixels

    items = items_of(dataset.examples["train"][:9], 16, ("above", "below", "middle"))
    small = Pixels(room=3 * 16 * 16 * 2)
    assert torch.equal(small.of(items), Pixels().of(items))
    assert len(small._kept) == 2


def test_a_file_that_went_away_is_named(tmp_path, task, dataset, tiny_resnet, pictures_folder):
    from trimtab.errors import DataError

    base = base_of(task, dataset, tiny_resnet)
    item = task.encode(dataset, None, recipe_of(tiny_resnet, pictures_folder)).splits["train"][0]
    gone = replace(item, picture=replace(item.picture, source=str(tmp_path / "gone.png"), name="gone.png", digest="x"))
    with pytest.raises(DataError, match=r"gone\.png cannot be read any more"):
        task.collate(base, [gone])


def test_another_size_is_a_setting(task, dataset, tiny_vit, pictures_folder):
    """Positions are interpolated; the probe is fitted anew."""
    base = base_of(task, dataset, tiny_vit)
    heads = []
    for side in (16, 24):
        recipe = recipe_of(tiny_vit, pictures_folder, max_length=side)
        data = task.encode(dataset, base.processor, recipe)
        cohort = Cohort(base, [recipe], data)
        heads.append(cohort.members[0].adapter.whole["classifier.weight"].detach().clone())
        trained(cohort, 1)
    assert not torch.equal(*heads)


def test_a_killed_run_goes_on_to_the_same_bits(tmp_path, tiny_resnet, pictures_folder):
    recipe = written(tmp_path, tiny_resnet, pictures_folder, steps=100)
    recipe.write_text(recipe.read_text() + "eval_steps: 0.05\ncolor_jitter: 0.2\nrandom_flip: true\n")
    whole, cut = killed_and_gone_on(recipe, tmp_path)
    (run,) = Store(whole).runs()
    files = [Path(folder) / "runs" / run.id / "last" / "model.safetensors" for folder in (whole, cut)]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize("kind", ["resnet", "vit"])
@pytest.mark.parametrize("frozen", [1, -1])
def test_frozen_layers_stay_as_they_are(tmp_path, task, dataset, pictures_folder, kind, frozen):
    from trimtab.run.layer_rates import depths_of

    model = tiny_network(tmp_path, kind)
    base = base_of(task, dataset, model, full=True)
    recipe = recipe_of(model, pictures_folder, "full", frozen_layers=frozen)
    before = {n: p.detach().clone() for n, p in base.model.named_parameters()}
    cohort = Cohort(base, [recipe], task.encode(dataset, base.processor, recipe))
    head = {n: v.clone() for n, v in base.head.items()}
    trained(cohort, 3)
    depths = depths_of([n for n in before if n not in head])
    own = cohort.members[0].adapter.whole if frozen < 0 else {}
    after = {n.replace(".base.", "."): p for n, p in base.model.named_parameters()} | own
    assert after.keys() == before.keys()
    for name, p in after.items():
        still = name in depths and (frozen < 0 or depths[name] <= frozen)
        assert torch.equal(p, before[name]) == still or (name in head) == (not still), name
    weight = "classifier.weight" if kind == "vit" else "classifier.1.weight"
    assert not torch.equal(after[weight], head[weight])


@pytest.mark.parametrize("kind", ["resnet", "vit"])
def test_heads_alone_share_what_the_frozen_body_made_of_pictures(tmp_path, task, dataset, pictures_folder, kind):
    model = tiny_network(tmp_path, kind)
    recipes = [
        recipe_of(model, pictures_folder, "full", frozen_layers=-1, seed=s, learning_rate=r)
        for s, r in ((1, 1e-2), (2, 3e-2))
    ]
    data = task.encode(dataset, base_of(task, dataset, model).processor, recipes[0])
    found = []
    for keeps, groups in ((True, [recipes]), (False, [[r] for r in recipes])):
        base = base_of(task, dataset, model, full=True)
        kept = body_of(base, recipes, *data.splits.values()) if keeps else None
        assert (kept is not None) == keeps
        cohorts = [Cohort(base, some, data, kept=kept) for some in groups]
        weights = [w for c in cohorts for w in trained(c, 3)]
        seen = [e.losses for c in cohorts for e in c.evaluate(c.members, data.splits["validation"])]
        found.append((weights, seen))
    for a, b in zip(*(f[0] for f in found), strict=True):
        for one, other in zip(a, b, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)
    for one, other in zip(*(f[1] for f in found), strict=True):
        assert one == pytest.approx(other, rel=1e-3)
    varied = [recipes[0].but(random_flip=True)]
    assert body_of(base, varied, data.splits["train"]) is None  # no two visits are the same


def test_more_layers_than_there_are_cannot_be_frozen(task, dataset, tiny_vit, pictures_folder):
    from trimtab.errors import SpecError

    base = base_of(task, dataset, tiny_vit, full=True)
    recipe = recipe_of(tiny_vit, pictures_folder, "full", frozen_layers=9)
    with pytest.raises(SpecError, match="frozen_layers: got 9; the model has 3 layers"):
        Cohort(base, [recipe], task.encode(dataset, base.processor, recipe))


def test_a_size_that_a_network_cannot_take_is_one_sentence(tmp_path, task, dataset, pictures_folder):
    from trimtab.errors import SpecError

    model = tiny_network(tmp_path, "small-net", 32)
    base, recipe = base_of(task, dataset, model), recipe_of(model, pictures_folder, "full", max_length=8)
    said = r"max_length: got 8 pixels a side, which this network does not take .* give 32"
    with pytest.raises(SpecError, match=said):
        Cohort(base, [recipe], task.encode(dataset, base.processor, recipe))


def test_a_recipe_without_a_size_takes_the_networks_own(tmp_path, pictures_folder):
    from trimtab.forecasting.source import sized

    model = tiny_network(tmp_path, "vit", 16)
    given = Recipe.model_validate({"model": model, "data": str(pictures_folder), "task": "image-classification"})
    assert sized(given).max_length == 16
    assert sized(given.but(max_length=24)).max_length == 24
