"""The behaviour commands, end to end on the tiny model."""

import json
import shutil

import pytest
from typer.testing import CliRunner

from trimtab.cli.main import app
from trimtab.errors import SpecError, StoreError
from trimtab.store.folder import opened

RECIPE = """
model: bundled:tiny
data: {data}
learning_rate: 0.01
per_device_train_batch_size: 2
gradient_accumulation_steps: 4
max_steps: 12
r: 4
max_length: 64
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory, small_file):
    """One small run with its card at the short level."""
    from trimtab.api.card import card
    from trimtab.api.tune import train

    out = tmp_path_factory.mktemp("out")
    (out / "recipe.yaml").write_text(RECIPE.format(data=small_file), encoding="utf-8")
    row = train(out / "recipe.yaml", out=out)
    card(row.id, level="short", out=out)
    return out, row.id


def trimtab(*args, lines=""):
    result = CliRunner().invoke(app, [str(a) for a in args], input=lines)
    return result.exit_code, result.output, result.exception


def test_a_budget_that_can_never_be_kept_is_refused_before_anything_is_asked(trained, tmp_path):
    out, run = trained
    wrong, probes = tmp_path / "b.yaml", tmp_path / "probes"
    wrong.write_text("limits: {label_f1: {min: -0.1}, own-tone: {max: 0.01}}", encoding="utf-8")
    probes.mkdir()
    (probes / "tone.yaml").write_text(
        "scorer: {type: contains, any: [please]}\nitems: [{prompt: Say it}]", encoding="utf-8"
    )
    for asked in (["card", run[:6], "--probes", probes], ["tune", "bundled:tiny", "bundled:home-commands"]):
        _, _, error = trimtab(*asked, "--budget", wrong, "--out", out)
        assert "limits.label_f1: cannot be measured here: the answers are no labels" in str(error)
        assert "limits.own-tone" in str(error)
    wrong.write_text("limits: {refusal: {min: 0.05}}", encoding="utf-8")
    code, text, _ = trimtab("budget", "check", wrong)
    assert code == 0
    assert "the base model itself is outside limits.refusal" in text


def test_the_card_with_its_page(trained, tmp_path):
    out, run = trained
    page = tmp_path / "card.html"
    code, text, error = trimtab("card", run[:6], "--level", "short", "--out", out, "--html", page)
    assert code == 0, error
    assert "Drift on generic prompts" in text
    assert "not asked at level short" in text
    html = page.read_text(encoding="utf-8")
    assert "What tuning did to the model" in html
    assert html.count("<svg") >= 3
    assert "http" not in html.replace("http://www.w3.org", "")


@pytest.mark.parametrize("page", ["/proc/nowhere/card.html", "/tmp"])
def test_a_page_that_cannot_be_written_is_said_before_anything_is_measured(trained, page):
    out, run = trained
    *_, error = trimtab("card", run, "--level", "audit", "--out", out, "--html", page)
    assert "--html" in str(error)
    assert ("cannot be written" in str(error)) != ("is a folder" in str(error))


@pytest.mark.parametrize("width", ["80", "110", "215"])
def test_a_card_fits_the_terminal(trained, monkeypatch, width):
    out, run = trained
    monkeypatch.setenv("COLUMNS", width)
    _, text, _ = trimtab("card", run, "--level", "short", "--out", out)
    table = text[: text.index("about ")] if width != "215" else text
    assert "UNDECIDED" in table
    assert "…," not in table
    assert ("95 % interval" in text) == (width != "80")
    assert ("floor" in text.splitlines()[0]) == (width == "215")


def test_confidence_and_accuracy_are_recorded_at_every_evaluation(trained):
    from trimtab.api.card import card

    out, run = trained
    epochs = card(run, level="short", out=out)["epochs"]
    assert len(epochs) == 4
    assert all(0 <= e["right"] <= 1 and 0 < e["sure"] <= 1 for e in epochs)


def test_an_adapter_that_trimtab_did_not_train(trained, small_file):
    out, run = trained
    adapter = out / "runs" / run / "best"
    args = ("card", adapter, "--base", "bundled:tiny", "--level", "short", "--json")
    code, text, error = trimtab(*args, "--data", small_file)
    assert code == 0, error
    rows = {r["number"]: r for r in json.loads(text)["rows"]}
    assert rows["kl_generic"]["value"] > 0
    assert rows["memorisation"]["value"] is not None
    assert rows["exact_match"]["n"] > 0


def test_an_adapter_for_another_base_is_said(trained, tmp_path):
    from trimtab.errors import ModelError

    out, run = trained
    adapter = tmp_path / "adapter"
    shutil.copytree(out / "runs" / run / "best", adapter)
    (adapter / "adapter_model.safetensors").write_bytes(b"not weights")
    _, _, error = trimtab("card", adapter, "--base", "bundled:tiny", "--level", "pulse")
    assert isinstance(error, ModelError)
    assert "cannot be read" in str(error)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--level", "deep"), '--level: got "deep"; allowed are pulse, short, card, audit'),
        (("--language", "fr"), '--language: got "fr"; there are probes in en and zh'),
        (("--data", "x.jsonl"), "belongs to --base"),
        (("--budget", "strict"), "neither a preset"),
    ],
)
def test_bad_input_is_one_sentence(trained, args, said):
    out, run = trained
    _, _, error = trimtab("card", run, "--out", out, *args)
    assert isinstance(error, SpecError)
    assert said in str(error)


def test_own_probes_are_on_the_card(trained, tmp_path):
    out, run = trained
    (tmp_path / "mine.yaml").write_text(
        "max_new_tokens: 4\nscorer: {type: length, max_words: 50}\nitems:\n"
        + "".join(f"  - {{prompt: say {i}}}\n" for i in range(6)),
        encoding="utf-8",
    )
    (tmp_path / "budget.yaml").write_text("limits:\n  own-mine: {min: -0.5}\n", encoding="utf-8")
    code, text, error = trimtab(
        "card",
        run,
        "--level",
        "short",
        "--out",
        out,
        "--probes",
        tmp_path / "mine.yaml",
        "--budget",
        tmp_path / "budget.yaml",
        "--json",
    )
    assert code == 0, error
    (row,) = [r for r in json.loads(text)["rows"] if r["number"] == "own-mine"]
    assert row["n"] == 6
    assert row["limit"]["min"] == -0.5


def test_gradient_shares_also_by_their_old_name(trained):
    out, run = trained
    assert "voices is called gradient-shares now" in trimtab("voices", run, "--out", out)[1]
    code, text, error = trimtab("gradient-shares", run, "--out", out)
    assert code == 0, error
    assert "consensus" in text
    assert "Read these first" in text
    assert "→" in text  # the examples' own text
    code, text, _ = trimtab("gradient-shares", run, "--out", out, "--json")
    found = json.loads(text)
    assert found["updates"] == found["told_apart"] == 12


@pytest.mark.slow  # classifiers' adapters are scaled in the quick tests
def test_an_adapter_at_other_scales(trained):
    out, run = trained
    code, text, error = trimtab("adapter-scale", run, "--out", out)
    assert code == 0, error
    assert "1.25" in text
    assert "of the update" in text


def test_budgets(tmp_path):
    code, text, _ = trimtab("budget", "show", "tight")
    assert code == 0
    assert "≤ 0.03" in text
    good = tmp_path / "b.yaml"
    good.write_text("preset: loose\nlimits: {own-mine: {min: -0.1}, brier: {max: 0.5}}", encoding="utf-8")
    code, text, _ = trimtab("budget", "check", good)
    assert (code, "is a budget with 21 limits" in text) == (0, True)
    bad = tmp_path / "bad.yaml"
    bad.write_text("limits: {brierr: {max: 0.5}, refusal: {max: -2}}", encoding="utf-8")
    _, _, error = trimtab("budget", "check", bad)
    assert 'unknown number "brierr"; did you mean "brier"?' in str(error)


def test_a_review_is_blind_drawn_once_and_goes_on(trained):
    from trimtab.api.review import review

    out, run = trained
    before = review(run, n=6, out=out)
    code, text, error = trimtab("review", run, "--n", "6", "--out", out, lines="1\n2\n0\nq\n")
    assert code == 0, error
    found = review(run, n=6, out=out)
    assert [p["swapped"] for p in found["pairs"]] == [p["swapped"] for p in before["pairs"]]
    cast = [p["vote"] for p in found["pairs"] if p["vote"]]
    assert len(cast) == 3
    assert cast[2] == "tie"
    for pair, side in zip(found["pairs"], ("left", "right"), strict=False):
        assert pair["vote"] == ("second" if (side == "left") == pair["swapped"] else "first")
    assert run not in text.split("Cannot tell")[0]  # blind until the result
    trimtab("review", run, "--n", "6", "--out", out, lines="b\n0\nq\n")
    assert sum(p["vote"] is not None for p in review(run, n=6, out=out)["pairs"]) == 3
    code, text, _ = trimtab("review", run, "--read", "--out", out)
    assert "For reading" in text or "for reading" in text


def test_labels_need_requests_that_were_asked(trained, tmp_path):
    trained_at, run = trained
    out = shutil.copytree(trained_at, tmp_path / "out")
    with opened(out) as store:
        store.save_samples(run, [])  # as after a card of level pulse
    _, _, error = trimtab("review", run, "--label", "--out", out)
    assert isinstance(error, StoreError)
    assert "was not asked what it refuses" in str(error)
