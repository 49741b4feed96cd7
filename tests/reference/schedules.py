"""Learning rates, one step at a time."""

import math


def warmup_cosine(
    step: int, peak: float, total_steps: int, warmup_steps: int, floor: float, start: float = 0.0
) -> float:
    """Linear from `start`, then Loshchilov and Hutter (ICLR 2017), Eq. 5; constant after the end."""
    if step < warmup_steps:
        return start + (peak - start) * step / warmup_steps
    current, period = min(step, total_steps) - warmup_steps, total_steps - warmup_steps
    return floor + 0.5 * (peak - floor) * (1 + math.cos(math.pi * current / period))


def rocl(epoch: int) -> float:
    """RoCL's released schedule: the rate of an epoch, from 0."""
    return 0.1 * (1 + 1.4 * (epoch + 1)) if epoch < 10 else 0.75 * (1 + math.cos(math.pi * (epoch - 10) / 1000))


def deacl(epoch: int) -> float:
    """DeACL's, from 0."""
    return 0.003 + epoch * 0.497 / 9 if epoch <= 9 else 0.25 * (1 + math.cos(math.pi * (epoch - 10) / 90))


def dynacl(epoch: int, epochs: int) -> float:
    """DynACL's, from 1, as its code counts."""
    if epoch <= 10:
        return 5 * epoch / 10
    return 1e-6 + (5 - 1e-6) * 0.5 * (1 + math.cos(math.pi * (epoch - 11) / (epochs - 10)))
