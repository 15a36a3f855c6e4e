"""How answers are cut into words, and which pieces are none."""

import pytest

from latentseek_core.analyses.wording import is_word, opening, pieces


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Let's find 12 + 5 = 17.", ["let's", "find", "#"]),
        ('{"thought process": "Let\'s find 12."}', ["let's", "find", "#"]),
        ("To **solve** \\boxed{7} $x+1$ this", ["to", "solve", "this"]),
        ("Then21 are", ["then#", "are", "(none)"]),
        ("", ["(none)"] * 3),
    ],
)
def test_an_opening_is_three_words(text, words):
    assert opening(text) == words


def test_punctuation_and_case_do_not_count():
    assert pieces("Then, “SHE” — went!") == ["then", "she", "#", "went"]


@pytest.mark.parametrize(
    ("piece", "known", "true"),
    [
        ("carefully", "", True),
        ("let’s", "", True),
        ("#", "", True),
        ("(none)", "", True),
        ("theella", "", False),
        ("to's", "", False),
        ("that#", "", False),
        ("zyxwv", "Zyxwv has 3 pens", True),
    ],
)
def test_a_word_is_in_the_list_or_in_the_question(piece, known, true):
    assert is_word(piece, known) is true
