"""The operations that the benchmarks divide by, against counts by hand, by TensorFlow and by PyTorch."""

import keras
import pytest
import tensorflow as tf

from acl_tf.models.encoder import Encoder
from acl_tf.models.heads import ProjectionHead

pytestmark = pytest.mark.usefixtures("importable")

# Of ResNet-18 for 32×32 images: inputs, outputs, kernel, size of the output, and how many such convolutions.
RESNET18 = [
    (3, 64, 3, 32, 1),
    (64, 64, 3, 32, 4),
    (64, 128, 3, 16, 1),
    (64, 128, 1, 16, 1),
    (128, 128, 3, 16, 3),
    (128, 256, 3, 8, 1),
    (128, 256, 1, 8, 1),
    (256, 256, 3, 8, 3),
    (256, 512, 3, 4, 1),
    (256, 512, 1, 4, 1),
    (512, 512, 3, 4, 3),
]


def test_resnet18_by_hand():
    from flops import forward_flops

    by_hand = sum(2 * a * b * kernel**2 * size**2 * count for a, b, kernel, size, count in RESNET18)
    assert by_hand == 1_110_835_200
    assert forward_flops(Encoder("resnet18").graph("adversarial")) == by_hand
    assert forward_flops(ProjectionHead(512).graph("standard")) == 3 * 2 * 512**2


def test_against_tensorflows_profiler():
    from flops import forward_flops

    graph = Encoder("wrn-28-10", width=0.125).graph("adversarial")
    traced = tf.function(lambda images: graph(images, training=False))
    concrete = traced.get_concrete_function(tf.TensorSpec([1, 32, 32, 3]))
    options = {**tf.compat.v1.profiler.ProfileOptionBuilder.float_operation(), "output": "none"}
    counted = tf.compat.v1.profiler.profile(concrete.graph, cmd="op", options=options)
    assert forward_flops(graph) == operations(counted, "Conv2D")


def operations(node, kind: str) -> int:
    """Sums one kind of operations of the profiler's tree."""
    return node.float_ops * (node.name == kind) + sum(operations(child, kind) for child in node.children)


@pytest.mark.interop
@pytest.mark.parametrize("attack_steps", [0, 2])
def test_a_step_against_pytorchs_counter(attack_steps):
    torch = pytest.importorskip("torch")
    from flops import forward_flops, step_flops
    from pytorch_step import LeanStep
    from torch.utils.flop_counter import FlopCounterMode

    views = torch.rand(2, 4, 3, 32, 32)
    step = LeanStep(width=0.125, steps=attack_steps)
    with FlopCounterMode(display=False) as counter:
        step.step(*views)
    parts = (Encoder("resnet18", width=0.125), ProjectionHead(64))
    needed = 4 * step_flops(sum(forward_flops(part.graph("adversarial")) for part in parts), attack_steps)
    # Training needs no gradient of the images; the similarities of projections are not counted.
    spared = 2 * 8 * 2 * (3 * 8 * 3**2 * 32**2)
    assert counter.get_total_flops() == pytest.approx(needed - spared, rel=1e-3)


def test_other_kernels_are_refused():
    from flops import forward_flops

    images = keras.Input((8, 8, 3))
    with pytest.raises(TypeError) as error:
        forward_flops(keras.Model(images, keras.layers.DepthwiseConv2D(3)(images)))
    assert str(error.value) == "Expected Conv2D or Dense. Received: DepthwiseConv2D"
