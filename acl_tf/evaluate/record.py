"""Evaluation records: a value and everything that it depends on."""

import datetime
from collections.abc import Mapping
from typing import Any

from acl_tf.data.image_set import ImageSet
from acl_tf.records import Record
from acl_tf.versions import versions


def record(
    metric: str,
    value: float,
    image_set: ImageSet,
    protocol: Mapping[str, Any],
    model_sha256: str | None,
    seconds: float,
) -> Record:
    """Returns the record of a measurement.

    Args:
        metric: Name of the metric: `accuracy`, `robust_accuracy`, ….
        value: Value from 0 to 1.
        image_set: Images on which the value was measured, all of them.
        protocol: Attack, norm, epsilon, steps, seed and everything else that the value depends on.
        model_sha256: SHA-256 of `model.keras`; None: the model is not in a folder.
        seconds: Duration of the measurement.

    Returns:
        A JSON object. Two evaluations with one seed differ in `date` and `seconds` only.
    """
    used = versions()
    return {
        "metric": metric,
        "value": value,
        "n": len(image_set),
        "dataset": image_set.name,
        "split": image_set.split,
        "protocol": dict(protocol),
        "model_sha256": model_sha256,
        "acl_tf": used["acl_tf"],
        "tensorflow": used["tensorflow"],
        "keras": used["keras"],
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
    }
