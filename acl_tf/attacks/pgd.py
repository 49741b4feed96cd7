"""Projected gradient descent in the l∞, l2 and l1 balls, and its named special cases."""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, get_args

import tensorflow as tf
from pydantic import Field, ValidationInfo, field_validator

from acl_tf.attacks import BALLS
from acl_tf.attacks.balls import Ball
from acl_tf.attacks.base import GradientAttack, State
from acl_tf.config import NonNegative, Section, Share, known

Start = Literal["uniform", "normal", "zero"]


class PGD(GradientAttack):
    """Projected gradient descent: steps of `step_size` along the gradient, inside a ball of radius `epsilon`.

    The caller passes the loss: NT-Xent in contrastive pre-training, cross-entropy in evaluation.

    Args:
        epsilon: Radius of the ball, in pixels of [0, 1]; in l2 and l1 it is the norm over the whole image.
        step_size: Length of a step, in the same unit and norm; None: a quarter of `epsilon`.
        steps: Number of steps.
        norm: `linf`, `l2` or `l1`, whose steps are sparse (SLIDE).
        momentum: Share of the previous direction in the next one; 0: each step follows its own gradient alone.
        start: Distribution of the start: `uniform` in the ball; `normal` around the image with standard deviation
            0.001, as in TRADES; or `zero`, the image itself.
        clip_start: Whether the start is clipped to [0, 1] before the first step, as in RoCL.
        sparsity: Share of the pixels that a step in l1 moves, in (0, 1]; each channel counts as a pixel; None: 0.01.

    Example:

    ```python
    attack = PGD(epsilon=8 / 255, step_size=2 / 255, steps=5)
    adversarial = attack(images, loss, attack.start(images.shape, seed)).images
    ```

    Raises:
        ValueError: If a number is negative or not finite, `sparsity` is outside (0, 1] or given in another norm than
            l1, or there is no such start.
        UsageError: If there is no such norm.

    References: Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018, section 2.1;
    Tramèr and Boneh, "Adversarial Training and Robustness for Multiple Perturbations", NeurIPS 2019, Algorithm 1 (l1);
    Zhang et al., "Theoretically Principled Trade-off between Robustness and Accuracy", ICML 2019, Algorithm 1 (the
    normal start; its standard deviation is that of the released code).
    """

    class Settings(Section):
        """The arguments of the constructor."""

        norm: Annotated[str, known(BALLS)] = "linf"
        epsilon: NonNegative = 8 / 255
        step_size: NonNegative | None = None
        steps: Annotated[int, Field(ge=0)] = 20
        start: Start = "uniform"
        momentum: NonNegative = 0.0
        clip_start: bool = False
        sparsity: Share | None = None

        @field_validator("sparsity")
        @classmethod
        def _only_in_l1(cls, sparsity: float | None, others: ValidationInfo) -> float | None:
            if sparsity is not None and others.data.get("norm") != "l1":
                raise ValueError("no value unless norm is l1")
            return sparsity

    #: Standard deviation of the normal start.
    start_stddev = 0.001
    #: Default length of a step, as a share of `epsilon`.
    step_share = 0.25

    def __init__(
        self,
        epsilon: float = 8 / 255,
        step_size: float | None = None,
        steps: int = 20,
        norm: str = "linf",
        momentum: float = 0.0,
        start: Start = "uniform",
        clip_start: bool = False,
        sparsity: float | None = None,
    ) -> None:
        super().__init__(epsilon, self.step_share * epsilon if step_size is None else step_size, steps, momentum)
        if start not in get_args(Start):
            raise ValueError(f"`start` must be one of {', '.join(get_args(Start))}. Received: start={start!r}")
        self.ball = make_ball(norm, sparsity)
        self.norm = norm
        self.start_kind = start
        self.clip_start = clip_start

    def start(self, shape: tf.Tensor | Sequence[int], seed: tf.Tensor, dtype: tf.DType = tf.float32) -> tf.Tensor:
        if self.start_kind == "zero":
            return tf.zeros(shape, dtype)
        if self.start_kind == "normal":
            return tf.random.stateless_normal(shape, seed, 0.0, self.start_stddev, dtype)
        return self.ball.draw(shape, seed, self.epsilon, dtype)

    def begin(self, images: tf.Tensor, start: tf.Tensor) -> State:
        adversarial, direction = super().begin(images, start)
        return tf.clip_by_value(adversarial, 0.0, 1.0) if self.clip_start else adversarial, direction

    def step(self, images: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
        return self.ball.step(images, gradient, self.step_size)

    def project(self, images: tf.Tensor, center: tf.Tensor) -> tf.Tensor:
        return self.ball.project(images, center, self.epsilon)


class RadiusAlone(PGD.Settings):
    """Settings of an attack whose name fixes all arguments of `PGD` but the radius; a subclass says steps and start."""

    norm: Literal["linf"] = "linf"
    step_size: None = None
    momentum: Literal[0] = 0
    clip_start: Literal[False] = False
    sparsity: None = None


class PGD20(PGD):
    """PGD as in RA: 20 steps of a quarter of the radius (2/255 for 8/255), from one uniform random start.

    Reference: Jiang et al., "Robust Pre-Training by Adversarial Contrastive Learning", NeurIPS 2020, section 3.
    """

    class Settings(RadiusAlone):
        """The radius `epsilon`; the name fixes all other arguments."""

        steps: Literal[20] = 20
        start: Literal["uniform"] = "uniform"

    fixed: ClassVar = {"restarts": 1, "loss": "cross_entropy", "targeted": False}


class FGSM(PGD):
    """The fast gradient sign method: one step of length `epsilon` from the image itself.

    Args:
        epsilon: Radius of the l∞ ball, in pixels of [0, 1].
        **settings: Further arguments of `PGD`.

    Raises:
        ValueError: If `epsilon` is negative or not finite.

    Reference: Goodfellow et al., "Explaining and Harnessing Adversarial Examples", ICLR 2015, section 4.
    """

    class Settings(RadiusAlone):
        """The radius `epsilon`; the name fixes all other arguments."""

        steps: Literal[1] = 1
        start: Literal["zero"] = "zero"

    fixed: ClassVar = {"restarts": 1}
    step_share = 1.0

    def __init__(self, epsilon: float = 8 / 255, **settings: Any) -> None:
        super().__init__(epsilon, **{"steps": 1, "start": "zero", **settings})


def make_ball(norm: str, sparsity: float | None = None) -> Ball:
    """Returns the ball of a norm.

    Args:
        norm: `linf`, `l2` or `l1`.
        sparsity: Share of the pixels that a step in l1 moves; None: the default of the ball.

    Raises:
        ValueError: If `sparsity` is given in another norm than l1, or is out of range.
        UsageError: If there is no such norm.
    """
    if sparsity is None:
        return BALLS[norm]()
    if norm != "l1":
        raise ValueError(f"`sparsity` is for norm=l1. Received: sparsity={sparsity}, norm={norm}")
    return BALLS[norm](sparsity)
