import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from acl_tf.training.selection import Selection


def variables() -> list[keras.Variable]:
    return [keras.Variable(np.zeros((2, 3)), dtype="float32"), keras.Variable(0, dtype="int64", trainable=False)]


def fill(weights: list[keras.Variable], value: int) -> None:
    for weight in weights:
        weight.assign(np.full(weight.shape, value))


def values(weights: list[keras.Variable]) -> list[int]:
    return [int(np.unique(weight.numpy()).item()) for weight in weights]


def after(*scores: tuple[float, float]) -> tuple[Selection, list[keras.Variable]]:
    """What is selected of epochs of these robust and clean accuracies; in each, all weights are its number."""
    weights = variables()
    selection = Selection(weights)
    for epoch, (robust, clean) in enumerate(scores, 1):
        fill(weights, epoch)
        selection.update(epoch, robust, clean)
    return selection, weights


@pytest.mark.parametrize(
    "scores, best",
    [
        ([(0.0, 0.0)], 1),  # also an epoch that gets nothing right is better than none
        ([(0.1, 0.9), (0.2, 0.1), (0.15, 0.95)], 2),  # robust accuracy counts
        ([(0.2, 0.5), (0.2, 0.6), (0.2, 0.55)], 2),  # then clean accuracy
        ([(0.2, 0.5), (0.2, 0.5)], 1),  # then the first
        ([(0.3, 0.5), (0.2, 0.9), (0.1, 1.0)], 1),
        ([(0.1, 0.5), (0.2, 0.5), (0.3, 0.5)], 3),
    ],
)
def test_the_best_epoch(scores, best):
    selection, weights = after(*scores)
    assert selection.best_epoch() == best
    assert tuple(selection.scores.numpy()) == scores[best - 1]
    assert values(weights) == [len(scores)] * 2  # training goes on from where it is
    selection.restore()
    assert values(weights) == [best] * 2


def test_update_tells_whether_the_epoch_is_better():
    selection = Selection(variables())
    assert [selection.update(epoch, robust, 0.5) for epoch, robust in ((1, 0.1), (2, 0.1), (3, 0.2))] == [
        True,
        False,
        True,
    ]


def test_nothing_is_selected_before_the_first_epoch():
    assert Selection(variables()).best_epoch() == 0


def test_the_best_of_all_orders():
    for order in itertools.permutations([(0.1, 0.9), (0.2, 0.1), (0.2, 0.3)]):
        assert after(*order)[0].best_epoch() == order.index((0.2, 0.3)) + 1


def test_it_is_part_of_a_checkpoint(tmp_path):
    selection, _ = after((0.1, 0.5), (0.3, 0.5), (0.2, 0.5))
    tf.train.Checkpoint(selection=selection).write(str(tmp_path / "state"))
    weights = variables()
    restored = Selection(weights)
    tf.train.Checkpoint(selection=restored).read(str(tmp_path / "state")).assert_consumed()
    assert restored.best_epoch() == 2
    assert not restored.update(4, 0.3, 0.5) and restored.update(5, 0.3, 0.6)
    fill(weights, 9)
    restored, weights = Selection(weights), weights
    tf.train.Checkpoint(selection=restored).read(str(tmp_path / "state"))
    restored.restore()
    assert values(weights) == [2, 2]
