import pytest

from demo.picture import answer, picture, shares


def test_a_digit_is_drawn_two_characters_per_pixel_from_blank_to_dark() -> None:
    drawn = picture([0, 16, 8] + [0] * 61).split("\n")
    assert len(drawn) == 8
    assert drawn[0] == "      @@=="
    assert drawn[1:] == [""] * 7


def test_shares_add_up_to_one_even_for_large_scores() -> None:
    assert sum(shares([1000.0, 999.0, -1000.0])) == pytest.approx(1)


def test_the_answer_names_the_best_three() -> None:
    assert answer([0.0, 5.0, 3.0, 1.0]) == "1 (86.2%), else 2 (11.7%) or 3 (1.6%)"
