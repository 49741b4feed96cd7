import re

import numpy as np
import pytest
import tensorflow as tf

from acl_tf.attacks import BALLS
from acl_tf.attacks.base import GradientAttack
from acl_tf.attacks.eot import with_eot
from acl_tf.attacks.pgd import FGSM, PGD
from acl_tf.attacks.restarts import worst_of
from acl_tf.errors import UsageError
from tests.attacks.scenes import images, linear, slope

NUMBERS = {"epsilon": 0.1, "step_size": 0.1, "steps": 1}


@pytest.mark.parametrize("norm", BALLS)
@pytest.mark.parametrize("name, value", [("epsilon", -0.1), ("step_size", -1), ("steps", -1), ("momentum", -0.5)])
def test_negative_numbers(norm, name, value):
    with pytest.raises(ValueError) as error:
        PGD(**{**NUMBERS, name: value}, norm=norm)
    assert str(error.value) == f"`{name}` must not be negative. Received: {name}={value}"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["epsilon", "step_size", "steps", "momentum"])
def test_numbers_that_are_not_finite(name, value):
    with pytest.raises(ValueError) as error:
        PGD(**{**NUMBERS, name: value})
    assert str(error.value) == f"`{name}` must be finite. Received: {name}={value}"


def test_fgsm():
    with pytest.raises(ValueError) as error:
        FGSM(-1)
    assert str(error.value) == "`epsilon` must not be negative. Received: epsilon=-1"


@pytest.mark.parametrize("sparsity", [0, -0.1, 1.5, float("nan")])
def test_sparsity(sparsity):
    with pytest.raises(ValueError) as error:
        PGD(**NUMBERS, sparsity=sparsity, norm="l1")
    assert str(error.value) == f"`sparsity` must be in (0, 1]. Received: sparsity={sparsity}"


def test_draws():
    with pytest.raises(ValueError) as error:
        with_eot(PGD(**NUMBERS), 0)
    assert str(error.value) == "`draws` must be positive. Received: draws=0"


def test_no_start():
    with pytest.raises(ValueError) as error:
        worst_of(PGD(**NUMBERS), images(), linear(slope()), [])
    assert str(error.value) == "`starts` must hold at least one perturbation. Received: starts=[]"


def test_unknown_norm():
    with pytest.raises(UsageError) as error:
        PGD(norm="l3")
    assert str(error.value) == "Unknown norm; did you mean \"l2\"? Known: linf, l2, l1. Received: 'l3'"


@pytest.mark.parametrize("hook", ["start", "step", "project"])
def test_a_new_attack_brings_its_own_hooks(hook):
    with pytest.raises(NotImplementedError):
        getattr(GradientAttack(**NUMBERS), hook)(images(), images())


@pytest.mark.parametrize("low, high", [(-0.5, 255.0), (0.0, 1.5), (-0.25, 1.0), (float("nan"), float("nan"))])
def test_images_out_of_range(low, high):
    x = np.full((2, 4, 4, 3), low, np.float32)
    x[1] = high
    attack, climbed = PGD(**NUMBERS), linear(slope())
    with pytest.raises(ValueError) as error:
        attack(x, climbed, np.zeros_like(x))
    assert str(error.value) == f"Images must lie in [0, 1]. Received: values from {low} to {high}"

    in_graph = tf.function(lambda y: attack(y, climbed, tf.zeros_like(y)).images)
    in_graph(images())
    expected = f"[Images must lie in [0, 1]. Received: values from] [{low:g}] [to] [{high:g}]"
    with pytest.raises(tf.errors.InvalidArgumentError, match=re.escape(expected)):
        in_graph(tf.constant(x))


def test_the_bounds_are_in_range():
    x = np.array([0.0, 1.0], np.float32).reshape(2, 1, 1, 1)
    assert PGD(**NUMBERS)(x, lambda y: tf.reduce_sum(y, axis=(1, 2, 3)), np.zeros_like(x)).images.shape == x.shape


def test_images_that_are_no_floats():
    with pytest.raises(ValueError) as error:
        PGD(**NUMBERS)(np.zeros((2, 4, 4, 3), np.uint8), linear(slope()), np.zeros((2, 4, 4, 3)))
    assert str(error.value) == "Images must be floating point, in [0, 1]. Received: images.dtype=uint8"
