"""Expectation over transformation: attacks on models that draw random numbers."""

import copy
from typing import TypeVar

from acl_tf.attacks.base import Attack

AnyAttack = TypeVar("AnyAttack", bound=Attack)


def with_eot(attack: AnyAttack, draws: int) -> AnyAttack:
    """Returns the same attack with losses and gradients that are means over several evaluations of the loss.

    It is for losses that differ from one evaluation to the next: a model with dropout or with noise on its inputs. A
    loss that draws from a fixed seed gives the same each time, and the mean gains nothing.

    Args:
        attack: The attack, which stays as it is.
        draws: How often the loss is evaluated at each point.

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
