"""APGD of one image, in float64, as the papers and the authors' code have it."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tests.reference import l1_in_box

Function = Callable[[np.ndarray], float]
Gradient = Callable[[np.ndarray], np.ndarray]


class Path(NamedTuple):
    """The points that are looked at, and the best of them."""

    points: list[np.ndarray]
    best: np.ndarray


def checkpoints(steps: int) -> list[int]:
    """Returns the steps after which progress is checked."""
    window, least, fewer = max(int(0.22 * steps), 1), max(int(0.06 * steps), 1), max(int(0.03 * steps), 1)
    found, since = [], 0
    for step in range(1, steps + 1):
        since += 1
        if since == window:
            found.append(step)
            since, window = 0, max(window - fewer, least)
    return found


def apgd(
    image: np.ndarray, start: np.ndarray, f: Function, gradient: Gradient, epsilon: float, steps: int, norm: str
) -> Path:
    """Croce and Hein (ICML 2020), Algorithm 1, in the l∞ and the l2 ball."""

    def into(z: np.ndarray) -> np.ndarray:
        delta = z - image
        length = np.linalg.norm(delta)
        shrunk = np.clip(delta, -epsilon, epsilon) if norm == "linf" else delta * min(1, epsilon / max(length, 1e-12))
        return np.clip(image + shrunk, 0, 1)

    z = before = best = start
    last = best_loss = checked = f(z)
    slope = best_slope = gradient(z)
    size, reduced, rises, previous_check = 2 * epsilon, True, 0, 0
    points = [z]
    for step in range(1, steps + 1):
        share = 1.0 if step == 1 else 0.75
        direct = into(z + size * (np.sign(slope) if norm == "linf" else slope / np.linalg.norm(slope)))
        before, z = z, into(z + share * (direct - z) + (1 - share) * (z - before))
        points.append(z)
        value, slope = f(z), gradient(z)
        rises, last = rises + (value > last), value
        if value > best_loss:
            best, best_loss, best_slope = z, value, slope
        if step in checkpoints(steps):
            stalls = rises <= 0.75 * (step - previous_check) or (not reduced and checked >= best_loss)
            if stalls:
                size, z, slope = size / 2, best, best_slope
            reduced, checked, rises, previous_check = stalls, best_loss, 0, step
    return Path(points, best)


def l1_apgd(
    image: np.ndarray,
    start: np.ndarray,
    f: Function,
    gradient: Gradient,
    epsilon: float,
    steps: int,
    begun: bool = False,
) -> Path:
    """Croce and Hein (ICML 2021), Algorithm 1; `begun`: whether the start is a good point of a larger ball."""
    pixels, window = np.float32(image.size), max(int(0.04 * steps), 1)
    z = best = start
    best_loss = f(z)
    slope = best_slope = gradient(z)
    known = np.float32(np.sum(z != image)) if begun else pixels
    moving = known / pixels / np.float32(1.5) if begun else np.float32(0.2)
    size, points = epsilon, [z]
    for step in range(1, steps + 1):
        rank = int(np.clip((np.float32(1) - moving) * pixels, 0, pixels - 1))
        signs = np.sign(slope) * (np.abs(slope) >= np.sort(np.abs(slope).ravel())[rank])
        z = image + l1_in_box.project(image, z + size * signs / np.abs(signs).sum() - image, epsilon)
        points.append(z)
        value, slope = f(z), gradient(z)
        if value > best_loss:
            best, best_loss, best_slope = z, value, slope
        if step % window == 0:
            support = np.float32(np.sum(best != image))
            sparser = support < 0.95 * known
            size = epsilon if sparser else max(size / 1.5, epsilon / 10)
            if sparser:
                z, slope = best, best_slope
            known, moving = support, support / pixels / np.float32(1.5)
    return Path(points, best)
