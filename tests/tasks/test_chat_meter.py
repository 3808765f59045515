"""The examiner: how many prompts a budget needs, in which language, and that nobody is asked twice."""

import itertools
from types import SimpleNamespace

import pytest

from tests.tuning.fake_trainer import ASKED
from trimtab.datasets.formats import Example
from trimtab.datasets.prepare import Dataset
from trimtab.probes.prompts import CARD_PROMPTS, KL_PROMPTS, generic_prompts
from trimtab.spec.budget import Budget, Limit, preset
from trimtab.spec.recipe import Recipe
from trimtab.store import Store
from trimtab.tasks import chat_meter
from trimtab.tasks.chat_meter import ChatMeter, generic_count, generic_most, language_of

SENTENCES = {
    "en": "The old lighthouse keeper walked slowly down the stairs and looked at the sea for a long time, number {}.",
    "zh": "老灯塔看守人慢慢走下楼梯，看了很久大海，第{}次。",
    "de": "Der alte Leuchtturmwärter ging langsam die Treppe hinunter und betrachtete lange das Meer, Nummer {}.",
}


def limited(share):
    return Budget(limits={"degeneration": Limit(max=share)})


def dataset(*languages, answers=None):
    texts = [SENTENCES[code].format(i) for i in range(20) for code in languages]
    said = itertools.cycle(answers or texts)
    rows = [Example(({"role": "user", "content": t}, {"role": "assistant", "content": next(said)})) for t in texts]
    return Dataset("d", "messages", {"train": rows, "validation": rows[:5], "test": rows[:5]}, 0, "seed 0")


def test_a_limit_that_few_answers_cannot_show_has_more_asked():
    assert generic_count(Budget(), "card", "en") == KL_PROMPTS < generic_count(limited(0.02), "card", "en")
    # what a card asks besides, harmless questions, shows degeneration as well: without them more are needed
    assert generic_count(limited(0.05), "card", "en") == KL_PROMPTS < generic_count(limited(0.05), "short", "en")
    assert generic_count(limited(0.05), "card", None) == generic_count(limited(0.05), "short", "en")
    assert generic_count(preset("tight"), "pulse", "en", asked=500) == CARD_PROMPTS
    assert generic_count(Budget(), "card", "en", asked=KL_PROMPTS + 7) == KL_PROMPTS + 7


@pytest.mark.parametrize(
    ("languages", "spoken"), [(("en",), "en"), (("zh",), "zh"), (("en", "de", "en"), "en"), (("de",), None)]
)
def test_the_commonest_language_is_spoken_where_there_are_probes_in_it(languages, spoken):
    said = []
    assert language_of(dataset(*languages), said.append) == spoken
    assert bool(said) == (spoken is None)
    assert all('"de"' in text and "not measured" in text for text in said)


def test_where_no_language_can_be_told_it_is_english(monkeypatch):
    monkeypatch.setattr(chat_meter.languages, "shares", lambda _texts: {})
    assert language_of(dataset("de"), print) == "en"


def meter(tmp_path, data, template="yes"):
    models = SimpleNamespace(
        processor=SimpleNamespace(chat_template=template), model="m", key=lambda _recipe: (False, False)
    )
    store = Store(tmp_path)
    store.open_study(ASKED["tune"], "s")
    return ChatMeter(store, models, data, Budget(), "s", print)


def test_what_is_lacking_is_what_these_data_and_this_model_lack(tmp_path):
    plain = meter(tmp_path, dataset("en"), template=None).lacks()
    assert {"a chat template", "JSON answers", "labels"} <= plain.keys()
    labelled = meter(tmp_path, dataset("en", answers=["yes", "no"])).lacks()
    assert not {"a chat template", "labels"} & labelled.keys()
    assert "JSON answers" not in meter(tmp_path, dataset("en", answers=['{"a": 1}'])).lacks()


def test_neutral_prompts_go_on_only_where_what_they_tell_is_limited():
    drift, refusals = Budget(limits={"kl_generic": Limit(max=0.1)}), Budget(limits={"refusal": Limit(min=-0.1)})
    most = lambda budget, **how: generic_most(budget, "card", "en", 0, **{"whole": False, **how})  # noqa: E731
    assert most(drift) == most(preset()) == len(generic_prompts())
    assert most(drift, whole=True) == most(refusals) == 100
    assert generic_most(preset(), "pulse", "en", 0, False) == 24


def test_a_run_is_asked_once(tmp_path, monkeypatch):
    asked = []
    examiner = meter(tmp_path, dataset("en"))
    examiner.task = SimpleNamespace(examples=())
    monkeypatch.setattr(examiner, "_tuned", lambda recipe: asked.append(recipe.run_id))
    monkeypatch.setattr(chat_meter.cards, "ask_task", lambda *_: [SimpleNamespace(text="a")])
    monkeypatch.setattr(chat_meter.cards, "sureness", lambda *_: {})
    monkeypatch.setattr(chat_meter.cards, "task_numbers", lambda *_: {"exact_match": [1.0]})
    recipes = [Recipe(model="m", data="d", seed=s) for s in (1, 2)]
    for recipe in recipes:
        examiner.store.add_run(recipe)
    examiner.measure_task(recipes[:1])
    found = examiner.measure_task(recipes)
    assert asked == [r.run_id for r in recipes]
    assert found == {r.run_id: {"exact_match": [1.0]} for r in recipes}
    assert examiner.store.run(recipes[0].run_id).result["answers"] == ["a"]


def test_what_a_base_says_is_asked_once_for_runs_that_share_it(tmp_path, monkeypatch):
    asked, examiner = [], meter(tmp_path, dataset("zh"))
    examiner.models.base = lambda _recipe: None
    examiner.models.key = lambda recipe: (recipe.method == "full", False)
    monkeypatch.setattr(chat_meter, "reference", lambda *how: asked.append(how[2:]) or object())
    monkeypatch.setattr(chat_meter, "extended", lambda *how: asked.append(how[3:]) or object())
    lora = Recipe(model="m", data="d")
    assert examiner.ref(lora) is examiner.ref(lora.but(r=4))
    assert examiner.ref(lora.but(method="full")) is not examiner.ref(lora)
    assert examiner.ref(lora, prompts=99) is not examiner.ref(lora)
    assert [language for language, *_ in asked] == ["zh"] * 3
