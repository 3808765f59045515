"""Text classification on a tiny encoder: trained, resumed, shared, loaded elsewhere; heads of their own."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from typer.testing import CliRunner

from tests.killed import killed_and_gone_on
from trimtab.cli.main import app
from trimtab.errors import DataError
from trimtab.run.adapters import Slice
from trimtab.run.checkpoint import export, load_adapter
from trimtab.run.cohort import Cohort, Piece
from trimtab.spec.recipe import Recipe
from trimtab.store import Store
from trimtab.tasks.task import find_task

SILENT = lambda _text: None  # noqa: E731
RECIPE = (
    "model: {model}\ndata: {data}\ntask: text-classification\nmethod: {method}\nlearning_rate: 3e-3\n"
    "max_steps: {steps}\nper_device_train_batch_size: 8\nr: 4\nmax_length: 32\nbf16: false\n"
)


@pytest.fixture(scope="module")
def task():
    return find_task("text-classification")


@pytest.fixture(scope="module")
def dataset(task, labelled_file):
    return task.read(str(labelled_file), SILENT)


def base_of(task, dataset, model, full=False):
    return task.load_base(model, dataset, task.processor(model, SILENT), full, False, "cpu", SILENT)


def recipe_of(model, labelled_file, **more):
    return Recipe(
        model=model, data=str(labelled_file), task="text-classification", r=4, max_length=32, bf16=False,
        per_device_train_batch_size=8, learning_rate=3e-3, max_steps=6, **more,
    )  # fmt: skip


def trained(cohort, steps=6):
    for _ in range(steps):
        for member, (loss, size) in zip(cohort.members, cohort.forward_backward(cohort.members), strict=True):
            if member.accumulate(loss, size):
                member.update()
    return [[p.detach().clone() for p in m.adapter.parameters()] for m in cohort.members]


def written(tmp_path, tiny_encoder, labelled_file, method="lora", steps=40):
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE.format(model=tiny_encoder, data=labelled_file, method=method, steps=steps))
    return path


def trimtab(*args):
    result = CliRunner().invoke(app, [str(a) for a in args])
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


@pytest.mark.parametrize("method", ["lora", "full"])
def test_it_learns_what_it_is_shown(tmp_path, tiny_encoder, labelled_file, method):
    text = trimtab("train", written(tmp_path, tiny_encoder, labelled_file, method), "--out", tmp_path / "out")
    assert re.search("Labels: (animal|colour|metal) [0-9]+", text)
    (run,) = Store(tmp_path / "out").runs()
    losses = [e["loss"] for e in Store(tmp_path / "out").evaluations(run.id)]
    assert min(losses) < losses[0]
    assert run.result["seconds"] > 0


def test_the_untouched_base_is_the_frozen_probe(task, dataset, tiny_encoder, labelled_file):
    from trimtab.behaviour.frozen_probe import probe_of, read
    from trimtab.datasets.assets import cache_folder
    from trimtab.datasets.label_items import encoded, labels_in

    base = base_of(task, dataset, tiny_encoder)
    base.begin(recipe_of(tiny_encoder, labelled_file))
    sides = [encoded(dataset.examples[s], base.processor, 512, labels_in(dataset)) for s in ("train", "validation")]
    seen = read(base, None, sides[1])
    probe = probe_of(base, *sides, cache_folder() / "base-says")
    for one, other in zip(seen.probabilities, probe.of(seen.states), strict=True):
        assert one == pytest.approx(other, abs=1e-5)


def test_a_new_adapter_changes_nothing(task, dataset, tiny_encoder, labelled_file):
    base = base_of(task, dataset, tiny_encoder)
    base.begin(recipe_of(tiny_encoder, labelled_file))
    data = task.encode(dataset, base.processor, recipe_of(tiny_encoder, labelled_file))
    batch = task.collate(base, data.splits["test"])
    before = task.outputs(base, batch, [])
    cohort = Cohort(base, [recipe_of(tiny_encoder, labelled_file)], data)
    after = task.outputs(base, batch, [Slice(cohort.members[0].adapter, batch.rows, batch.length)])
    torch.testing.assert_close(after, before)


def test_members_of_a_cohort_are_the_runs_alone(task, dataset, tiny_encoder, labelled_file):
    recipes = [recipe_of(tiny_encoder, labelled_file, seed=s) for s in (1, 2)]
    data = task.encode(dataset, task.processor(tiny_encoder, SILENT), recipes[0])
    alone = [trained(Cohort(base_of(task, dataset, tiny_encoder), [r], data, "certify"))[0] for r in recipes]
    together = trained(Cohort(base_of(task, dataset, tiny_encoder), recipes, data, "certify"))
    assert all(
        torch.equal(a, b) for one, other in zip(alone, together, strict=True) for a, b in zip(one, other, strict=True)
    )
    fast = trained(Cohort(base_of(task, dataset, tiny_encoder), recipes, data))
    for one, other in zip(alone, fast, strict=True):
        for a, b in zip(one, other, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_each_member_has_a_head_of_its_own(task, dataset, tiny_encoder, labelled_file):
    recipes = [recipe_of(tiny_encoder, labelled_file, seed=s) for s in (1, 2)]
    base = base_of(task, dataset, tiny_encoder)
    cohort = Cohort(base, recipes, task.encode(dataset, base.processor, recipes[0]))
    trained(cohort)
    first, second = (m.adapter.whole["classifier.weight"] for m in cohort.members)
    assert not torch.equal(first, second)
    assert not torch.equal(first, base.head["classifier.weight"])
    assert torch.equal(base.model.classifier.base.weight, base.head["classifier.weight"])  # the base's own stays


def test_a_member_that_trains_everything_moves_everything(task, dataset, tiny_encoder, labelled_file):
    base = base_of(task, dataset, tiny_encoder, full=True)
    before = {n: p.detach().clone() for n, p in base.model.named_parameters()}
    recipe = recipe_of(tiny_encoder, labelled_file, method="full")
    cohort = Cohort(base, [recipe], task.encode(dataset, base.processor, recipe))
    for _ in range(3):
        ((loss, size),) = cohort.forward_backward(cohort.members)
        assert cohort.members[0].accumulate(loss, size)
        cohort.members[0].update()
    assert all(not torch.equal(before[n], p) for n, p in base.model.named_parameters() if "word" not in n)


def test_peft_loads_an_adapter_with_its_head(tmp_path, task, dataset, tiny_encoder, labelled_file):
    from peft import PeftModel
    from transformers import AutoConfig

    from trimtab.tasks.pooled_classifier import PooledClassifier

    base = base_of(task, dataset, tiny_encoder)
    recipe = recipe_of(tiny_encoder, labelled_file)
    data = task.encode(dataset, base.processor, recipe)
    cohort = Cohort(base, [recipe], data)
    trained(cohort)
    export(cohort.members[0], base, tmp_path / "adapter")
    assert json.loads((tmp_path / "adapter" / "labels.json").read_text()) == ["animal", "colour", "metal"]
    batch = task.collate(base, data.splits["test"])
    ours = task.outputs(base, batch, [Slice(cohort.members[0].adapter, batch.rows, batch.length)])
    again = load_adapter(tmp_path / "adapter", base)
    assert torch.equal(task.outputs(base, batch, [Slice(again, batch.rows, batch.length)]), ours)
    theirs = PooledClassifier.from_pretrained(
        tiny_encoder, config=AutoConfig.from_pretrained(tiny_encoder, num_labels=3)
    )
    theirs = PeftModel.from_pretrained(theirs, str(tmp_path / "adapter")).eval()
    with torch.no_grad():
        torch.testing.assert_close(theirs(input_ids=batch.ids, attention_mask=batch.mask).logits, ours)


def test_transformers_loads_a_whole_model_without_trimtab(tmp_path, task, dataset, tiny_encoder, labelled_file):

    base = base_of(task, dataset, tiny_encoder, full=True)
    recipe = recipe_of(tiny_encoder, labelled_file, method="full")
    data = task.encode(dataset, base.processor, recipe)
    cohort = Cohort(base, [recipe], data)
    export(cohort.members[0], base, tmp_path / "model")
    batch = task.collate(base, data.splits["test"])
    with torch.no_grad():
        ours = task.outputs(base, batch, [])
    torch.save((batch.ids, batch.mask, ours), tmp_path / "batch.pt")
    elsewhere = (
        "import sys, torch; sys.modules['trimtab'] = None\n"
        "from transformers import AutoModelForSequenceClassification as Auto\n"
        "ids, mask, ours = torch.load(sys.argv[2])\n"
        "model = Auto.from_pretrained(sys.argv[1], trust_remote_code=True).eval()\n"
        "with torch.no_grad(): theirs = model(input_ids=ids, attention_mask=mask).logits\n"
        "assert torch.allclose(ours, theirs, atol=1e-5), (ours - theirs).abs().max()\n"
        "assert list(model.config.id2label.values()) == ['animal', 'colour', 'metal']\n"
    )
    args = [sys.executable, "-c", elsewhere, str(tmp_path / "model"), str(tmp_path / "batch.pt")]
    done = subprocess.run(args, capture_output=True, text=True, env={**os.environ, "HF_HOME": str(tmp_path / "hf")})
    assert done.returncode == 0, done.stderr[-2000:]
    same = base_of(task, dataset, str(tmp_path / "model"), full=True)
    with torch.no_grad():
        assert torch.equal(task.outputs(same, batch, []), ours)


@pytest.mark.parametrize("kind", ["roberta", "distilbert", "llama", "modernbert"])
def test_other_architectures_get_their_own_heads(tmp_path, task, dataset, labelled_file, kind):
    from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM

    from trimtab.tasks.pretrained import load_tokenizer

    tokenizer = load_tokenizer("bundled:minilm")
    small = {"hidden_size": 32, "dim": 32, "num_hidden_layers": 2, "n_layers": 2, "num_attention_heads": 2,
             "n_heads": 2, "num_key_value_heads": 2, "intermediate_size": 32, "hidden_dim": 32,
             "vocab_size": len(tokenizer),
             "pad_token_id": 0, "max_position_embeddings": 130}  # fmt: skip
    known = AutoConfig.for_model(kind)
    config = AutoConfig.for_model(kind, **{k: v for k, v in small.items() if hasattr(known, k)})
    auto = AutoModel if kind == "llama" else AutoModelForMaskedLM
    torch.manual_seed(0)
    body = auto.from_config(config)
    body.save_pretrained(tmp_path / "m")
    tokenizer.save_pretrained(tmp_path / "m")
    if kind == "llama":  # as a language model is saved
        text = (tmp_path / "m" / "config.json").read_text().replace("LlamaModel", "LlamaForCausalLM")
        (tmp_path / "m" / "config.json").write_text(text)
    base = base_of(task, dataset, str(tmp_path / "m"))
    recipe = recipe_of(str(tmp_path / "m"), labelled_file)
    data = task.encode(dataset, base.processor, recipe)
    cohort = Cohort(base, [recipe, recipe.but(seed=2)], data)
    start = [dict(m.adapter.whole) for m in cohort.members]
    assert set(start[0]) == base.drawn
    trained(cohort, 3)
    export(cohort.members[0], base, tmp_path / "a")
    batch = task.collate(base, data.splits["test"])
    ours = task.outputs(base, batch, [Slice(cohort.members[0].adapter, batch.rows, batch.length)])
    assert torch.equal(
        task.outputs(base, batch, [Slice(load_adapter(tmp_path / "a", base), batch.rows, batch.length)]), ours
    )
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification

    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path / "m", num_labels=3, pad_token_id=0)
    theirs = PeftModel.from_pretrained(theirs, str(tmp_path / "a")).eval()
    with torch.no_grad():
        torch.testing.assert_close(
            theirs(input_ids=batch.ids, attention_mask=batch.mask).logits, ours, atol=1e-5, rtol=1e-4
        )


def test_a_pooler_is_shared_too(tmp_path, task, dataset, labelled_file):
    """A checkpoint with a pooler of its own: one state a row reaches that layer, and members still share a pass."""
    from transformers import BertConfig, BertForPreTraining

    from trimtab.tasks.pretrained import load_tokenizer

    tokenizer = load_tokenizer("bundled:minilm")
    torch.manual_seed(0)
    small = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    BertForPreTraining(BertConfig(vocab_size=len(tokenizer), **small)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    recipes = [recipe_of(str(tmp_path), labelled_file, seed=s) for s in (1, 2)]
    data = task.encode(dataset, tokenizer, recipes[0])
    base = base_of(task, dataset, str(tmp_path))
    assert base.drawn == {"classifier.weight", "classifier.bias"}
    together = trained(Cohort(base, recipes, data))
    assert "bert.pooler.dense" in Cohort(base, recipes[:1], data).members[0].adapter.A
    alone = [trained(Cohort(base_of(task, dataset, str(tmp_path)), [r], data))[0] for r in recipes]
    for one, other in zip(alone, together, strict=True):
        for a, b in zip(one, other, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_upper_layers_are_trained_on_kept_states(task, dataset, tiny_encoder, labelled_file):
    """The same losses and adapters as with the lower layers computed at every visit."""
    from trimtab.run.frozen_prefix import prefix_of

    recipe = recipe_of(tiny_encoder, labelled_file, layers_to_transform=[1])
    found = []
    for keeps in (True, False):
        base = base_of(task, dataset, tiny_encoder)
        data = task.encode(dataset, base.processor, recipe)
        prefix = prefix_of(base, [recipe], data.splits["train"], data.splits["validation"]) if keeps else None
        assert (prefix is not None) == keeps
        cohort = Cohort(base, [recipe], data, kept=prefix)
        (weights,) = trained(cohort)
        (evaluation,) = cohort.evaluate(cohort.members, data.splits["validation"])
        found.append((weights, evaluation.losses))
    assert found[0][1] == pytest.approx(found[1][1], rel=1e-4)
    for a, b in zip(found[0][0], found[1][0], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def test_an_example_is_shown_under_the_number_that_its_run_gave_it(task, dataset, tiny_encoder, labelled_file):
    """A cutoff that would take a chat model's answers away takes no example from a classifier."""
    recipe = recipe_of(tiny_encoder, labelled_file).but(max_length=8)
    train = dataset.examples["train"]
    shown = task.texts(recipe, [0, 5, len(train) - 1], SILENT)
    assert shown == {i: [train[i].prompt[-1]["content"], train[i].answer] for i in (0, 5, len(train) - 1)}


@pytest.mark.slow  # a head alone, pictures and the toy task are killed in the quick tests
def test_a_killed_run_goes_on_to_the_same_bits(tmp_path, tiny_encoder, labelled_file):
    recipe = written(tmp_path, tiny_encoder, labelled_file, steps=250)
    recipe.write_text(recipe.read_text() + "eval_steps: 0.04\nlora_dropout: 0.1\n")
    whole, cut = killed_and_gone_on(recipe, tmp_path)
    (run,) = Store(whole).runs()
    files = [Path(folder) / "runs" / run.id / "last" / "adapter_model.safetensors" for folder in (whole, cut)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_members_drop_what_their_heads_read_whoever_trains_beside(task, dataset, tiny_encoder, labelled_file):
    recipes = [recipe_of(tiny_encoder, labelled_file, seed=s, classifier_dropout=0.5) for s in (1, 2)]
    data = task.encode(dataset, base_of(task, dataset, tiny_encoder).processor, recipes[0])
    together = trained(Cohort(base_of(task, dataset, tiny_encoder), recipes, data))
    alone = [trained(Cohort(base_of(task, dataset, tiny_encoder), [r], data))[0] for r in recipes]
    plain = trained(Cohort(base_of(task, dataset, tiny_encoder), [recipes[0].but(classifier_dropout=0.0)], data))[0]
    for one, other in zip(alone, together, strict=True):
        for a, b in zip(one, other, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(alone[0][-2], plain[-2], atol=1e-4)


@pytest.mark.parametrize("frozen", [0, -1])
def test_a_head_reads_all_of_it_where_nothing_is_trained(task, dataset, tiny_encoder, labelled_file, frozen):
    recipe = recipe_of(tiny_encoder, labelled_file, method="full", classifier_dropout=0.5, frozen_layers=frozen)
    base = base_of(task, dataset, tiny_encoder, True)
    cohort = Cohort(base, [recipe], task.encode(dataset, base.processor, recipe))
    first, again = (cohort.evaluate(cohort.members, cohort.data.splits["validation"])[0].losses for _ in range(2))
    assert first == again
    piece = [Piece(cohort.members[0], cohort.data.splits["train"][:8], 8)]
    (one,), (other,) = cohort.passes(piece), cohort.passes(piece)
    assert float(one.loss) != float(other.loss)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_what_is_saved_is_as_sure_as_the_evaluation_that_was_kept(
    tmp_path, task, dataset, tiny_encoder, labelled_file, method
):
    """The saved model's logits are divided by the temperature; the run itself goes on undivided."""
    recipe = recipe_of(tiny_encoder, labelled_file, method=method).but(learning_rate=2e-2, max_steps=60)
    found = []
    for scaled in (True, False):
        base = base_of(task, dataset, tiny_encoder, method == "full")
        data = task.encode(dataset, base.processor, recipe)
        cohort = Cohort(base, [recipe.but(temperature_scaling=scaled)], data)
        (member,) = cohort.members
        for _ in range(4):
            ((loss, size),) = cohort.forward_backward([member])
            if member.accumulate(loss, size):
                member.update()
        (evaluation,) = cohort.evaluate([member], data.splits["validation"])
        member.state.temperature = evaluation.temperature
        export(member, base, tmp_path / str(scaled))
        found.append((evaluation, [p.detach().clone() for f in member.optimizer.flats for p in [f.vector]]))
    (calm, weights), (plain, others) = found
    assert calm.temperature != plain.temperature == 1
    assert calm.right == plain.right
    assert sum(calm.losses) < sum(plain.losses)
    assert all(torch.equal(a, b) for a, b in zip(weights, others, strict=True))
    seen = loaded(task, dataset, tiny_encoder, tmp_path / "True", method, recipe)
    assert seen == pytest.approx(calm.losses, rel=1e-3, abs=1e-4)


def loaded(task, dataset, model, folder, method, recipe):
    """Validation losses of a saved run, loaded anew."""
    base = base_of(task, dataset, str(folder) if method == "full" else model, method == "full")
    data = task.encode(dataset, base.processor, recipe)
    adapter = None if method == "full" else load_adapter(folder, base)
    made = []
    for item in data.splits["validation"]:
        batch = task.collate(base, [item])
        made += task.unit_losses(task.outputs(base, batch, [Slice(adapter, 1, batch.length)]), batch).tolist()
    return made


def test_a_head_that_learns_alone_goes_on_and_peft_loads_it(tmp_path, task, dataset, tiny_encoder, labelled_file):
    recipe = written(tmp_path, tiny_encoder, labelled_file, "full", steps=400)
    recipe.write_text(recipe.read_text() + "eval_steps: 0.02\nfrozen_layers: -1\n")
    whole, cut = killed_and_gone_on(recipe, tmp_path)
    (run,) = Store(whole).runs()
    folders = [Path(folder) / "runs" / run.id / "last" for folder in (whole, cut)]
    files = [f / "adapter_model.safetensors" for f in folders]
    assert files[0].read_bytes() == files[1].read_bytes()
    base, ids = base_of(task, dataset, tiny_encoder), torch.tensor([[5, 6, 7]])
    text = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    ours = load_adapter(folders[0], base)
    with base.router.route([Slice(ours, 1, 3)]):
        expected = base.model(**text).logits
    fresh = base_of(task, dataset, tiny_encoder).model
    theirs = PeftModel.from_pretrained(fresh, folders[0]).eval()(**text).logits
    torch.testing.assert_close(theirs, expected)
    assert not torch.allclose(expected, base.model(**text).logits)
    assert trimtab("predict", run.id, "the film was good", "--out", str(whole))
    (layer,) = run.result["layers"]
    assert (layer["name"], layer["rate"], layer["start"]) == ("head", 3e-3, 0.0)


@pytest.mark.parametrize(
    ("labels", "said"),
    [(["a"] * 60, "has one label only, a"), ([str(i) for i in range(60)], "has too few examples of")],
)
def test_labels_that_teach_nothing_are_refused(tmp_path, task, tiny_encoder, labels, said):
    path = tmp_path / "d.jsonl"
    path.write_text(
        "".join(json.dumps({"text": f"row {i} of {x} {i * i}", "label": x}) + "\n" for i, x in enumerate(labels))
    )
    dataset = task.read(str(path), SILENT)
    with pytest.raises(DataError, match=said):
        base_of(task, dataset, tiny_encoder)
