"""The configuration of an attack in training."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from acl_tf.config import NonNegative, Section

if TYPE_CHECKING:
    from acl_tf.attacks.pgd import PGD


class AttackConfig(Section):
    """L∞ PGD on NT-Xent; `epsilon` and `step_size` in pixels of [0, 1], fractions such as `8/255` are read."""

    epsilon: NonNegative = 8 / 255
    step_size: NonNegative = 2 / 255
    steps: Annotated[int, Field(ge=0)] = 5

    def build(self) -> "PGD":
        """Returns the attack."""
        from acl_tf.attacks.pgd import PGD

        return PGD(self.epsilon, self.step_size, self.steps)
