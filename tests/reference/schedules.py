"""Learning rates, one step at a time."""

import math


def warmup_cosine(step: int, peak: float, total_steps: int, warmup_steps: int, floor: float) -> float:
    """Linear from 0, then Loshchilov and Hutter (ICLR 2017), Eq. 5; constant after the end."""
    if step < warmup_steps:
        return peak * step / warmup_steps
    current, period = min(step, total_steps) - warmup_steps, total_steps - warmup_steps
    return floor + 0.5 * (peak - floor) * (1 + math.cos(math.pi * current / period))
