"""FAB: looks for the nearest image that the model gets wrong."""

from collections.abc import Callable

import tensorflow as tf

from acl_tf.attacks.autoattack.hyperplane import nearest_l1, nearest_l2, nearest_linf
from acl_tf.attacks.autoattack.stepwise import (
    Attacked,
    Predict,
    State,
    Step,
    StepwiseAttack,
    choose,
    is_wrong,
    value_and_gradient,
)
from acl_tf.attacks.pgd import PIXELS, l2_norm
from acl_tf.randomness import draw_each

Nearest = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]


class FAB(StepwiseAttack):
    """Fast adaptive boundary attack: steps to where the model, linearised, changes its mind.

    A step goes a little beyond the linearised boundary, from the point reached and, with a small weight, from the image
    itself. Where the model then gets it wrong, the point is drawn back towards the image, by a tenth of the way.

    It looks for the nearest such point, so it does not depend on `epsilon`; an image is found where one lies in the
    ball. The first restart begins at the image itself, the others at random, half a radius away.

    Args:
        epsilon: Radius of the ball, in pixels of [0, 1].
        steps: Number of steps.
        targeted: Whether the boundary to the target class is meant (FAB-T), or else that to the class whose linearised
            boundary is nearest, for which every step differentiates every class.

    Reference: Croce and Hein, "Minimally Distorted Adversarial Examples with a Fast Adaptive Boundary Attack", ICML
    2020, Algorithm 1.
    """

    #: Overshoot, greatest weight of the image, and how far from the image a found point is drawn back to.
    eta, alpha_max, beta = 1.05, 0.1, 0.9

    def __init__(self, epsilon: float, steps: int = 100, targeted: bool = True) -> None:
        super().__init__(epsilon, steps)
        self.targeted = targeted

    def start(self, attacked: Attacked) -> State:
        shape = attacked.images.shape[1:]
        direction = draw_each(attacked.seeds, lambda seed: self.direction(shape, seed))
        away = 0.5 * self.epsilon * direction / self.length(direction)
        moved = tf.clip_by_value(attacked.images + away, 0.0, 1.0)
        return {"images": choose(attacked.restarts == 0, attacked.images, moved)}

    def step(self, predict: Predict, attacked: Attacked, state: State, number: tf.Tensor) -> Step:
        images, center = state["images"], attacked.images
        excess, normal = self.boundary(predict, attacked, images)
        from_center = excess + tf.reduce_sum(normal * (center - images), PIXELS)
        onwards = self.nearest_point(images, normal, excess)
        outwards = self.nearest_point(center, normal, from_center)
        near, far = (tf.maximum(self.length(move), 1e-8) for move in (onwards, outwards))
        weight = tf.minimum(near / (near + far), self.alpha_max)
        ahead = (1 - weight) * (images + self.eta * onwards) + weight * (center + self.eta * outwards)
        ahead = tf.clip_by_value(ahead, 0.0, 1.0)
        wrong = is_wrong(predict(ahead, 1), attacked.labels)
        found = wrong & (self.length(ahead - center)[:, 0, 0, 0] <= self.epsilon)
        drawn_back = center + self.beta * (ahead - center)
        return Step({"images": choose(wrong, drawn_back, ahead)}, ahead, found)

    def boundary(self, predict: Predict, attacked: Attacked, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns how much another class is above the label, and the gradient of that, of the class that is meant."""
        if self.targeted:
            return _difference(predict, attacked, images)
        classes = predict(images, 0).shape[-1]

        def of_class(number: tf.Tensor, least: tf.Tensor, excess: tf.Tensor, normal: tf.Tensor) -> tuple:
            targets = tf.fill(tf.shape(attacked.labels), number)
            value, gradient = _difference(predict, attacked._replace(targets=targets), images)
            distance = tf.abs(value) / (1e-12 + self.dual_length(gradient)[:, 0, 0, 0])
            nearer = (distance < least) & (targets != attacked.labels)
            chosen = tf.where(nearer, value, excess), choose(nearer, gradient, normal)
            return number + 1, tf.where(nearer, distance, least), *chosen

        infinite = tf.fill(tf.shape(attacked.labels), float("inf"))
        begin = (tf.constant(0), infinite, tf.zeros_like(infinite), tf.zeros_like(images))
        _, _, excess, normal = tf.while_loop(lambda number, *_: number < classes, of_class, begin)
        return excess, normal

    def nearest_point(self, images: tf.Tensor, normal: tf.Tensor, excess: tf.Tensor) -> tf.Tensor:
        """Returns the shortest moves to the linearised boundary, inside [0, 1]."""
        flat = [tf.shape(images)[0], -1]
        moves = self.nearest(tf.reshape(images, flat), tf.reshape(normal, flat), excess)
        return tf.reshape(moves, tf.shape(images))

    @property
    def nearest(self) -> Nearest:
        """The projection onto a hyperplane in [0, 1] in this norm."""
        raise NotImplementedError

    def length(self, values: tf.Tensor) -> tf.Tensor:
        """Returns the norm of each image, of shape `(batch, 1, 1, 1)`."""
        raise NotImplementedError

    def dual_length(self, values: tf.Tensor) -> tf.Tensor:
        """Returns the dual norm of each image, of shape `(batch, 1, 1, 1)`."""
        raise NotImplementedError

    def direction(self, shape: tf.TensorShape, seed: tf.Tensor) -> tf.Tensor:
        """Draws a direction of a random start."""
        return tf.random.stateless_normal(shape, seed)


class LinfFAB(FAB):
    """FAB in l∞."""

    nearest = staticmethod(nearest_linf)

    def length(self, values: tf.Tensor) -> tf.Tensor:
        return tf.reduce_max(tf.abs(values), PIXELS, keepdims=True)

    def dual_length(self, values: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(tf.abs(values), PIXELS, keepdims=True)

    def direction(self, shape: tf.TensorShape, seed: tf.Tensor) -> tf.Tensor:
        return tf.random.stateless_uniform(shape, seed, -1.0, 1.0)


class L2FAB(FAB):
    """FAB in l2."""

    nearest = staticmethod(nearest_l2)

    def length(self, values: tf.Tensor) -> tf.Tensor:
        return l2_norm(values)

    def dual_length(self, values: tf.Tensor) -> tf.Tensor:
        return l2_norm(values)


class L1FAB(FAB):
    """FAB in l1."""

    nearest = staticmethod(nearest_l1)

    def length(self, values: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(tf.abs(values), PIXELS, keepdims=True)

    def dual_length(self, values: tf.Tensor) -> tf.Tensor:
        return tf.reduce_max(tf.abs(values), PIXELS, keepdims=True)


def _difference(predict: Predict, attacked: Attacked, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the target's logit minus the label's, and its gradient."""

    def above(logits: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        return tf.gather(logits, targets, batch_dims=1) - tf.gather(logits, labels, batch_dims=1)

    _, value, gradient = value_and_gradient(predict, above, attacked, images)
    return value, gradient


#: By norm.
FAB_NORMS: dict[str, type[FAB]] = {"linf": LinfFAB, "l2": L2FAB, "l1": L1FAB}
