"""The Square Attack: random search over squares, which uses the model's logits only."""

import math

import numpy as np
import tensorflow as tf

from acl_tf.attacks.autoattack.stepwise import Attacked, Predict, State, Step, StepwiseAttack, choose, is_wrong
from acl_tf.attacks.balls import L1, L2, PIXELS, Ball, displaced
from acl_tf.losses.margin import margin
from acl_tf.randomness import draw_each, fold_in

# Numbers of queries after which the share of the pixels in a square is halved.
HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
PLANE = (1, 2)  # the axes of height and width


class Square(StepwiseAttack):
    """Proposes a change inside a square at a random place, and keeps it where the margin of the label falls.

    It uses logits only, so masked gradients do not mislead it. The squares become smaller as the attack proceeds.

    Each subclass defines the ball, the start and the proposals.

    Args:
        epsilon: Radius of the ball, in pixels of [0, 1].
        queries: Number of proposals.
        share: Share of the pixels that the first squares cover.

    Raises:
        ValueError: If the share is outside (0, 1].

    Reference: Andriushchenko et al., "Square Attack: a Query-Efficient Black-Box Adversarial Attack via Random Search",
    ECCV 2020, Algorithms 1 to 3.
    """

    least_steps_per_call = 50
    #: Number of random numbers that a proposal takes, in addition to one for each channel.
    numbers = 0
    #: Smallest side of a square.
    least_side = 1

    def __init__(self, epsilon: float, queries: int = 5000, share: float = 0.8) -> None:
        super().__init__(epsilon, queries + 1)  # one more, for the start
        if not 0 < share <= 1:
            raise ValueError(f"`share` must be in (0, 1]. Received: share={share}")
        self.share = share

    def sides(self, size: int) -> np.ndarray:
        """Returns the side of each proposal's square in an image of `size` × `size` pixels."""
        shares = [self.share / 2 ** sum(query > bound for bound in HALVINGS) for query in range(self.steps)]
        return np.array([min(self.rounded(math.sqrt(share) * size), size) for share in shares], np.int32)

    def rounded(self, side: float) -> int:
        """Returns the side of a square in whole pixels."""
        return max(round(side), self.least_side)

    def start(self, attacked: Attacked) -> State:
        if attacked.images.shape[1] != attacked.images.shape[2]:
            raise ValueError(f"Images must be square. Received: images.shape={attacked.images.shape}")
        # Drawn once: a draw for every image and query would cost more than the query of a small model.
        shape = [self.steps, self.numbers + attacked.images.shape[3]]
        draws = draw_each(attacked.seeds, lambda seed: tf.random.stateless_uniform(shape, fold_in(seed, 1)))
        return {
            "draws": draws,
            "best": attacked.images,
            "margin": tf.zeros_like(attacked.labels, tf.float32),
            "proposal": self.first(attacked),
        }

    def step(self, predict: Predict, attacked: Attacked, state: State, number: tf.Tensor) -> Step:
        logits = predict(state["proposal"], 0)
        value = -margin(logits, attacked.labels)
        wrong = is_wrong(logits, attacked.labels)
        better = (number == 0) | wrong | (value < state["margin"])
        best = choose(better, state["proposal"], state["best"])
        query = tf.minimum(number, self.steps - 1)
        draws = tf.gather(state["draws"], query, batch_dims=1)
        side = tf.gather(tf.constant(self.sides(best.shape[1])), query)
        kept = {"best": best, "margin": tf.where(better, value, state["margin"])}
        proposal = self.propose(attacked.images, best, side, draws)
        return Step({**state, **kept, "proposal": proposal}, state["proposal"], wrong)

    def first(self, attacked: Attacked) -> tf.Tensor:
        """Returns the images of the first query."""
        raise NotImplementedError

    def propose(self, center: tf.Tensor, best: tf.Tensor, side: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
        """Returns the images of the next query.

        Args:
            center: Images that are attacked.
            best: Proposals with the smallest margin so far, of the same shape.
            side: Sides of the squares, int32 of shape `(batch,)`.
            draws: Random numbers, uniform in [0, 1), of shape `(batch, numbers + channels)`.
        """
        raise NotImplementedError


class LinfSquare(Square):
    """Square in the l∞ ball: moves each channel of a square to a random face of the ball; starts with stripes."""

    numbers = 2

    def first(self, attacked: Attacked) -> tf.Tensor:
        _, _, width, channels = attacked.images.shape
        stripes = draw_each(attacked.seeds, lambda seed: tf.random.stateless_uniform([1, width, channels], seed))
        return tf.clip_by_value(attacked.images + self.epsilon * _signs(stripes), 0.0, 1.0)

    def propose(self, center: tf.Tensor, best: tf.Tensor, side: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
        inside = _window(_corner(draws[:, :2], side, best.shape[1]), side, best.shape[1])
        faces = center + self.epsilon * _signs(draws[:, tf.newaxis, tf.newaxis, self.numbers :])
        return tf.clip_by_value(tf.where(inside, faces, best), 0.0, 1.0)


class BumpSquare(Square):
    """Moves the perturbation of two windows into one of them, and adds a bump: for balls whose pixels share a budget.

    A bump falls off from its centre, with one sign in each half of its window. Each subclass defines the ball.
    """

    ball: Ball

    numbers = 5
    least_side = 3
    #: Order of the norm in which bumps have length 1; those of order 1 fall off faster.
    order = 2

    def rounded(self, side: float) -> int:
        whole = super().rounded(side)
        return whole + (whole % 2 == 0)

    def first(self, attacked: Attacked) -> tf.Tensor:
        return self.into(attacked.images, self.tiles(attacked))

    def tiles(self, attacked: Attacked) -> tf.Tensor:
        """Returns bumps that cover the image, each with random signs and one of two directions."""
        size, channels = attacked.images.shape[1], attacked.images.shape[3]
        side = max(size // 5, 1)
        count, begin = size // side, max((size - 5 * side) // 2, 0)
        tile = tf.constant(bump(side, self.order))
        draws = draw_each(attacked.seeds, lambda seed: tf.random.stateless_uniform([count, count, channels + 1], seed))
        signs, turned = _signs(draws[..., :channels]), draws[..., channels] < 0.5  # (batch, count, count, …)
        tiles = tf.where(turned[..., tf.newaxis, tf.newaxis], tile, tf.transpose(tile))
        # (batch, count, side, count, side, channels)
        placed = tf.einsum("bijhw,bijc->bihjwc", tiles, signs)
        flat = tf.reshape(placed, [-1, count * side, count * side, channels])[:, : size - begin, : size - begin]
        after = size - begin - flat.shape[1]
        return tf.pad(flat, [[0, 0], [begin, after], [begin, after], [0, 0]])

    def propose(self, center: tf.Tensor, best: tf.Tensor, side: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
        size = best.shape[1]
        delta = best - center
        corner = _corner(draws[:, :2], side, size)
        inside = tf.cast(_window(corner, side, size), delta.dtype)
        other = tf.cast(_window(_corner(draws[:, 2:4], side, size), side, size), delta.dtype)
        held = self.ball.norm(delta * tf.maximum(inside, other), PLANE)  # (batch, 1, 1, channels)
        old = delta * inside / (1e-12 + self.ball.norm(delta * inside, PLANE))
        signs = _signs(draws[:, tf.newaxis, tf.newaxis, self.numbers :])
        new = signs * self.bumps(corner, side, draws[:, 4] < 0.5, size) + old
        new *= self.budget(self.ball.norm(delta, PIXELS), held) / (1e-12 + self.ball.norm(new, PLANE))
        return self.into(center, delta * (1 - tf.maximum(inside, other)) + new)

    def bumps(self, corner: tf.Tensor, side: tf.Tensor, turned: tf.Tensor, size: int) -> tf.Tensor:
        """Returns a bump in each window, of shape `(batch, size, size, 1)`."""
        known = sorted(set(self.sides(size).tolist()))
        table = np.zeros((len(known), size, size), np.float32)
        for row, one in enumerate(known):
            table[row, :one, :one] = bump(one, self.order)
        row = tf.searchsorted(tf.constant(known), side)
        bumps = tf.gather(tf.constant(table), row)
        bumps = choose(turned, bumps, tf.transpose(bumps, [0, 2, 1]))
        # Outside the window the index points at zeros of the table.
        for axis in (0, 1):
            index = (tf.range(size)[tf.newaxis] - corner[:, axis, tf.newaxis]) % size
            bumps = tf.gather(bumps, index, axis=1 + axis, batch_dims=1)
        return bumps[..., tf.newaxis]

    def budget(self, used: tf.Tensor, held: tf.Tensor) -> tf.Tensor:
        """Returns the norm that each channel of a window may have: that of both windows, and the unused budget."""
        raise NotImplementedError

    def into(self, center: tf.Tensor, delta: tf.Tensor) -> tf.Tensor:
        """Returns `center + delta`, scaled or projected into the ball, in [0, 1]."""
        raise NotImplementedError


class L2Square(BumpSquare):
    """Square in the l2 ball."""

    ball = L2()

    def budget(self, used: tf.Tensor, held: tf.Tensor) -> tf.Tensor:
        left = tf.maximum(self.epsilon**2 - tf.square(used), 0)
        return tf.sqrt(left / held.shape[-1] + tf.square(held))

    def into(self, center: tf.Tensor, delta: tf.Tensor) -> tf.Tensor:
        return displaced(center, self.epsilon * delta / (1e-12 + self.ball.norm(delta)))


class L1Square(BumpSquare):
    """Square in the l1 ball.

    Reference: Croce and Hein, "Mind the Box: l1-APGD for Sparse Adversarial Attacks on Image Classifiers", ICML 2021,
    section 4.
    """

    order = 1
    ball = L1()

    def budget(self, used: tf.Tensor, held: tf.Tensor) -> tf.Tensor:
        return tf.maximum(self.epsilon - used, 0) + held * held.shape[-1]

    def into(self, center: tf.Tensor, delta: tf.Tensor) -> tf.Tensor:
        return self.ball.displace(center, delta, self.epsilon)


def bump(side: int, order: int) -> np.ndarray:
    """Returns a window of two halves of opposite sign that fall off from their centres.

    Args:
        side: Height and width.
        order: Order of the norm in which the window has length 1: 2 or 1. In l1 its values fall off with the fourth
            power of the distance, in l2 with the second.

    Returns:
        The window, float32 of shape `(side, side)`.

    Reference: Andriushchenko et al., ECCV 2020, Eq. 2; Croce and Hein, ICML 2021, section 4.
    """
    window = np.concatenate([_half(side // 2, side, order), -_half(side - side // 2, side, order)])
    return (window / np.linalg.norm(window.ravel(), order)).astype(np.float32)


def _half(height: int, width: int, order: int) -> np.ndarray:
    """Returns the sum of concentric rectangles whose weights fall with their size, scaled to norm 1."""
    values = np.zeros((height, width))
    row, column = height // 2, width // 2
    for ring in range(max(row, column) + 1):
        rows = slice(max(row - ring, 0), row + ring + 1)
        columns = slice(max(column - ring, 0), column + ring + 1)
        values[rows, columns] += (ring + 1.0) ** (-2 if order == 2 else -4)
    return values / np.linalg.norm(values.ravel(), order) if height else values


def _signs(draws: tf.Tensor) -> tf.Tensor:
    return tf.where(draws < 0.5, -1.0, 1.0)


def _corner(draws: tf.Tensor, side: tf.Tensor, size: int) -> tf.Tensor:
    """Returns row and column of a random window's first pixel, uniform over all places, int32 of shape `(batch, 2)`."""
    places = tf.cast(size - side + 1, tf.float32)[:, tf.newaxis]
    return tf.cast(draws * places, tf.int32)


def _window(corner: tf.Tensor, side: tf.Tensor, size: int) -> tf.Tensor:
    """Returns a mask of the pixels in a window, boolean of shape `(batch, size, size, 1)`."""
    pixels = tf.range(size)[tf.newaxis]
    rows, columns = (
        (pixels >= corner[:, axis, tf.newaxis]) & (pixels < (corner[:, axis] + side)[:, tf.newaxis]) for axis in (0, 1)
    )
    return (rows[:, :, tf.newaxis] & columns[:, tf.newaxis, :])[..., tf.newaxis]


#: Classes of the Square Attack, by norm.
SQUARE_NORMS: dict[str, type[Square]] = {"linf": LinfSquare, "l2": L2Square, "l1": L1Square}
