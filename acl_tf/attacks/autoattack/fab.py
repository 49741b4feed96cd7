"""FAB: searches for the nearest image that the model gets wrong."""

import tensorflow as tf

from acl_tf.attacks import BALLS
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
from acl_tf.attacks.balls import PIXELS
from acl_tf.randomness import draw_each


class FAB(StepwiseAttack):
    """Fast adaptive boundary attack: steps to the decision boundary of the linearised model.

    A step projects both the current point and the image itself onto the linearised boundary, goes a little beyond it,
    and averages the two, with a small weight on the image's. If the model then gets the point wrong, the point is drawn
    back towards the image, by a tenth of the way.

    The search for the nearest misclassified point does not depend on `epsilon`; it succeeds once a point that it finds
    lies in the ball. The first restart begins at the image itself, the others at random, half a radius away.

    Args:
        epsilon: Radius of the ball, in pixels of [0, 1].
        steps: Number of steps.
        targeted: Whether to step to the boundary of the target class (FAB-T); otherwise, to that of the class whose
            linearised boundary is nearest, for which every step differentiates every class.
        norm: `linf`, `l2` or `l1`.

    Reference: Croce and Hein, "Minimally Distorted Adversarial Examples with a Fast Adaptive Boundary Attack", ICML
    2020, Algorithm 1.
    """

    #: Overshoot, greatest weight of the image, and how far from the image a found point is drawn back to.
    eta, alpha_max, beta = 1.05, 0.1, 0.9

    def __init__(self, epsilon: float, steps: int = 100, targeted: bool = True, norm: str = "linf") -> None:
        super().__init__(epsilon, steps)
        self.ball = BALLS[norm]()
        self.targeted = targeted

    def start(self, attacked: Attacked) -> State:
        shape = attacked.images.shape[1:]
        direction = draw_each(attacked.seeds, lambda seed: self.ball.direction(shape, seed))
        away = 0.5 * self.epsilon * direction / self.ball.norm(direction)
        moved = tf.clip_by_value(attacked.images + away, 0.0, 1.0)
        return {"images": choose(attacked.restarts == 0, attacked.images, moved)}

    def step(self, predict: Predict, attacked: Attacked, state: State, number: tf.Tensor) -> Step:
        images, center = state["images"], attacked.images
        excess, normal = self.boundary(predict, attacked, images)
        from_center = excess + tf.reduce_sum(normal * (center - images), PIXELS)
        onwards = self.ball.to_plane(images, normal, excess)
        outwards = self.ball.to_plane(center, normal, from_center)
        near, far = (tf.maximum(self.ball.norm(move), 1e-8) for move in (onwards, outwards))
        weight = tf.minimum(near / (near + far), self.alpha_max)
        ahead = (1 - weight) * (images + self.eta * onwards) + weight * (center + self.eta * outwards)
        ahead = tf.clip_by_value(ahead, 0.0, 1.0)
        wrong = is_wrong(predict(ahead, 1), attacked.labels)
        found = wrong & (self.ball.norm(ahead - center)[:, 0, 0, 0] <= self.epsilon)
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
            distance = tf.abs(value) / (1e-12 + self.ball.dual_norm(gradient)[:, 0, 0, 0])
            nearer = (distance < least) & (targets != attacked.labels)
            chosen = tf.where(nearer, value, excess), choose(nearer, gradient, normal)
            return number + 1, tf.where(nearer, distance, least), *chosen

        infinite = tf.fill(tf.shape(attacked.labels), float("inf"))
        begin = (tf.constant(0), infinite, tf.zeros_like(infinite), tf.zeros_like(images))
        _, _, excess, normal = tf.while_loop(lambda number, *_: number < classes, of_class, begin)
        return excess, normal


def _difference(predict: Predict, attacked: Attacked, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the target's logit minus the label's, and its gradient."""

    def above(logits: tf.Tensor, labels: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        return tf.gather(logits, targets, batch_dims=1) - tf.gather(logits, labels, batch_dims=1)

    _, value, gradient = value_and_gradient(predict, above, attacked, images)
    return value, gradient
