"""What still fits into --time, and how thorough a card it has room for."""

import pytest

from tests.tuning.fake_trainer import desk_of
from trimtab.tuning.time_left import TimeLeft

BASE = {
    "answer_seconds": 1.0,
    "card_seconds": {"short": 60.0, "card": 400.0},
    "first_seconds": {"short": 20.0, "card": 100.0},
}


def left(tmp_path, limit, **base):
    desk = desk_of(tmp_path, "tune")
    desk.keep(base={**BASE, **base})
    return TimeLeft(desk, limit)


@pytest.mark.parametrize(("limit", "level"), [(None, "card"), (300, "card"), (299, "short")])
def test_the_whole_card_is_planned_where_its_first_round_is_a_third_of_the_time(tmp_path, limit, level):
    assert left(tmp_path, limit).card_level() == level


def test_room_is_kept_for_first_rounds(tmp_path):
    assert left(tmp_path, 400).card_seconds(seeds=3, cards=2) == pytest.approx(1.2 * 3 + 2 * 100)
    assert left(tmp_path, 200).card_seconds(seeds=3, cards=2) == pytest.approx(1.2 * 3 + 2 * 20)


def test_a_study_of_an_earlier_version_knows_whole_cards_alone(tmp_path):
    time = left(tmp_path, 900, first_seconds=None)
    assert time.card_level() == "short"
    assert time.card_seconds(seeds=0) == pytest.approx(60)
