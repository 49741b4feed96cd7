"""The worst of several runs of an attack."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from acl_tf.attacks.base import Attack, AttackResult, Loss


def worst_of(
    attack: Attack, images: tf.Tensor, loss: Loss, starts: Sequence[Any], score: Loss | None = None
) -> AttackResult:
    """Runs an attack from several starts and keeps for each image the result with the highest score.

    More starts never lower a score.

    Args:
        attack: The attack.
        images: Images in [0, 1], of shape `(batch, height, width, channels)`, floating point.
        loss: Function from images to one loss per example, which the attack raises.
        starts: Starts of the runs, each as `attack.start` draws it.
        score: Function from images to one number per image, the higher the worse for the model; None: `loss`.

    Example:

    ```python
    starts = [attack.start(images.shape, fold_in(seed, restart)) for restart in range(5)]
    found = worst_of(attack, images, loss, starts, score=lambda x: margin(model(x), labels)).images
    ```

    Returns:
        The images with the highest scores, and the losses of every run: shape `(len(starts), steps)`.

    Raises:
        ValueError: If there is no start.

    Reference: Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018, section 4.
    """
    if len(starts) == 0:
        raise ValueError(f"`starts` must hold at least one perturbation. Received: starts={starts}")
    score = score or loss
    worst, losses = attack(images, loss, starts[0])
    highest, traces = score(worst), [losses]
    for start in starts[1:]:
        found, losses = attack(images, loss, start)
        value = score(found)
        higher = (value > highest) | tf.math.is_nan(highest)
        worst = tf.where(tf.reshape(higher, [-1, 1, 1, 1]), found, worst)
        highest = tf.where(higher, value, highest)
        traces.append(losses)
    return AttackResult(worst, tf.stack(traces))
