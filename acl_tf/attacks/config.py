"""The configuration of an attack in training."""

from typing import Annotated

from pydantic import Field

from acl_tf.config import NonNegative, Section


class AttackConfig(Section):
    """L∞ PGD on NT-Xent; `epsilon` and `step_size` in pixels of [0, 1], fractions such as `8/255` are read."""

    epsilon: NonNegative = 8 / 255
    step_size: NonNegative = 2 / 255
    steps: Annotated[int, Field(ge=0)] = 5
