"""Expectation over transformation: attacks on models that draw random numbers."""

import copy
from typing import TypeVar

from acl_tf.attacks.base import Attack

AnyAttack = TypeVar("AnyAttack", bound=Attack)


def with_eot(attack: AnyAttack, draws: int) -> AnyAttack:
    """Returns a copy of an attack that averages losses and gradients over several evaluations of the loss.

    It is meant for losses that differ from one evaluation to the next, as with dropout or with noise on the inputs. A
    loss that draws from a fixed seed is the same each time, and averaging it gains nothing.

    Args:
        attack: The attack, which is not changed.
        draws: Number of evaluations of the loss at each point.

    Example:

    ```python
    attack = with_eot(PGD(epsilon=8 / 255, step_size=2 / 255, steps=20), draws=10)
    ```

    Raises:
        ValueError: If `draws` is not positive.

    Reference: Athalye et al., "Obfuscated Gradients Give a False Sense of Security", ICML 2018, section 4.2.
    """
    if draws < 1:
        raise ValueError(f"`draws` must be positive. Received: draws={draws}")
    averaged = copy.copy(attack)
    averaged.draws = draws
    return averaged
