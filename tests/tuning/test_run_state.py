from tests.tuning.fake_trainer import BASE, desk_of
from trimtab.datasets.formats import Example
from trimtab.tasks.chat import Chat
from trimtab.tuning.run_state import groups_of, outcome


def example(text):
    return Example(({"role": "user", "content": text}, {"role": "assistant", "content": "yes"}))


def test_near_copies_count_as_one_witness(tmp_path):
    desk = desk_of(tmp_path, "tune")
    row = desk.store.add_run(BASE, "s")
    items = [1.0, 1.0, 1.0, 4.0]
    desk.store.log_evaluation(run=row.id, step=1, share=1.0, loss=1.75, items=items, pulse={})
    assert outcome(desk.store, desk.store.run(row.id)).items == tuple(items)
    desk.store.update_run(row.id, result={"groups": {"validation": [0, 0, 0, 1]}})
    seen = outcome(desk.store, desk.store.run(row.id))
    assert seen.items == seen.history[1.0] == (1.5, 2.0)  # two witnesses, the mean of all items
    assert sum(seen.items) / 2 == sum(items) / 4
    assert groups_of(desk.store.run(row.id), "test") is None


def test_groups_are_the_splits_near_duplicates():
    long = "please switch the lamp beside the sofa in the living room on at seven o'clock in the evening"
    texts = [long, "what is the weather in Rome today and tomorrow", long + "!", "sing a song about a boat on a river"]
    assert Chat().near_copies([example(t) for t in texts]) == [0, 1, 0, 2]
