from __future__ import annotations

from modelyard.validation import pictures
from modelyard.validation.metrics import Answers


def test_confusion_counts_each_true_label_by_row() -> None:
    answers = Answers(["a", "a", "b", "c"], ["a", "b", "b", "a"], classes=["b", "a"])
    assert pictures.confusion(answers) == {"labels": ["b", "a", "c"], "counts": [[1, 0, 0], [1, 1, 0], [0, 1, 0]]}


def test_a_number_is_one_label_however_it_is_written() -> None:
    assert pictures.confusion(Answers([1.0, 0.0], [1, 0])) == {"labels": ["0", "1"], "counts": [[1, 0], [0, 1]]}


def test_more_labels_than_a_page_can_show() -> None:
    assert pictures.confusion(Answers(list(range(21)), list(range(21)))) is None


def test_a_sample_is_spread_over_all_rows_and_always_the_same() -> None:
    answers = Answers(list(range(10_000)), list(range(10_000)))
    points = pictures.sample(answers)
    assert len(points) == 400
    assert (points[0], points[-1]) == ((0.0, 0.0), (9975.0, 9975.0))
    assert points == pictures.sample(answers)
    assert pictures.sample(Answers([1, 2], [1, None])) == [(1.0, 1.0)]


def test_points_lie_on_the_diagonal_where_the_model_is_right() -> None:
    drawn = pictures.scatter([[0, 0], [5, 5], [10, 10]])
    assert drawn is not None
    assert (drawn["low"], drawn["high"]) == (0, 10)
    assert all(x + y == drawn["side"] for x, y in drawn["points"])
    assert pictures.scatter([[3, 3]]) is not None
    assert pictures.scatter([]) is None


def test_bars_share_one_scale() -> None:
    assert pictures.bars(50.0, 100.0) == {"candidate": 50.0, "production": 100.0}
    assert pictures.bars(-2.0, 1.0) == {"candidate": 100.0, "production": 50.0}
    assert pictures.bars(0.0, None) == {"candidate": 0.0, "production": None}
