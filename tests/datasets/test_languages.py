from trimtab.datasets.languages import shares

ENGLISH = "Please turn the light in the kitchen on before you leave the house."
CHINESE = "出门之前请把厨房的灯打开。"


def test_the_commonest_comes_first_and_rare_ones_are_left_out():
    found = shares([ENGLISH] * 70 + [CHINESE] * 30)
    assert list(found) == ["en", "zh"]
    assert found["en"] == 0.7
    assert list(shares([ENGLISH] * 98 + [CHINESE] * 2)) == ["en"]


def test_a_long_set_is_sampled_and_says_how_far_it_is():
    told = []
    found = shares([ENGLISH, CHINESE] * 1000, lambda *said: told.append(said))
    assert abs(found["en"] - 0.5) < 0.1  # two that take turns are both met
    assert told[-1] == ("Telling languages", 300, 300)


def test_texts_without_words_have_no_language():
    assert "zxx" not in shares(["12", "…", "###", ENGLISH] * 5)
