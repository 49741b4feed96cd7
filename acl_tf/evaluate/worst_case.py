"""Accuracy under the worst of several attacks, image by image."""

from collections.abc import Sequence

import numpy as np

from acl_tf.evaluate.base import Measured
from acl_tf.records import FINDINGS, TIMES, Record, without


def worst_case(measured: Sequence[Measured | tuple[Record, np.ndarray]]) -> Record:
    """Returns the record of the images that withstand every attack.

    Args:
        measured: Record of each attack, with a mask of the images that withstand it, boolean of shape `(n,)`; all
            attacks are on the same images.

    Raises:
        ValueError: If there is no attack.
    """
    if not measured:
        raise ValueError("`measured` must hold at least one attack. Received: []")
    records, withstood = zip(*measured, strict=True)
    first = records[0]
    protocol = {
        "attack": "worst_case",
        "attacks": [without(record["protocol"], *FINDINGS) for record in records],
        "seed": first["protocol"]["seed"],
        **{key: first["protocol"][key] for key in ("sigma", "samples") if key in first["protocol"]},
    }
    seconds = round(sum(record["seconds"] for record in records), 3)
    value = float(np.mean(np.all(withstood, axis=0)))
    rest = without(first, *TIMES)
    return {**rest, "value": value, "protocol": protocol, "date": first["date"], "seconds": seconds}
