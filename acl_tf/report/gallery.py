"""A gallery for each classifier: images, clean and attacked, with perturbations and predictions."""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from acl_tf.record_text import epsilon
from acl_tf.report.attacked import STEPS, Attacked
from acl_tf.report.run import Run
from acl_tf.report.section import Section
from acl_tf.report.series import style

GAIN = 10
OPEN = 2  # galleries that are unfolded


def section(runs: Sequence[Run], attacked: Mapping[int, Attacked], failed: Mapping[int, str]) -> Section:
    """Returns the section of adversarial images.

    Args:
        runs: All runs of the page.
        attacked: Test images of each run, by its number.
        failed: Reason why a run has none, by its number.
    """
    galleries = [_gallery(run, attacked[run.number]) for run in runs if _predicts(attacked.get(run.number))]
    problems = [{"name": run.name, "why": failed[run.number]} for run in runs if run.number in failed]
    absent = ""
    if not galleries and not problems:
        absent = "None of these runs has a classifier: encoders predict no classes."
    encoders = any(attacked.values()) and len(galleries) < len(attacked)
    values = {"galleries": galleries, "open": OPEN, "gain": GAIN, "problems": problems, "encoders": encoders}
    return Section("gallery", "Adversarial images", values, absent)


def perturbation(clean: np.ndarray, adversarial: np.ndarray) -> np.ndarray:
    """Returns ten times the perturbation around grey, float32 in [0, 1], in the shape of the images."""
    return np.clip(0.5 + GAIN * (adversarial - clean), 0.0, 1.0)


def _predicts(attacked: Attacked | None) -> bool:
    return attacked is not None and attacked.clean_predictions is not None


def _gallery(run: Run, attacked: Attacked) -> dict[str, Any]:
    names = attacked.classes or tuple(str(name) for name in run.model.get("classes") or ())
    images = []
    for place, row in enumerate(attacked.shown):
        clean, adversarial = attacked.clean[place], attacked.adversarial[place]
        pictures = {"clean": clean, "attacked": adversarial, "perturbation": perturbation(clean, adversarial)}
        truth = None if attacked.labels is None else attacked.labels[row]
        images.append(
            {
                "pictures": {name: _data_uri(picture) for name, picture in pictures.items()},
                "truth": None if truth is None else _class(names, truth),
                "clean": _prediction(names, attacked.clean_predictions, row, truth),
                "attacked": _prediction(names, attacked.adversarial_predictions, row, truth),
            }
        )
    attack = f"PGD-{STEPS}, l∞ {epsilon(attacked.epsilon)}"
    return {"name": run.name, "style": style(run.number), "attack": attack, "data": attacked.data, "images": images}


def _prediction(
    names: Sequence[str], predictions: np.ndarray | None, row: int, truth: int | None
) -> dict[str, str | bool | None]:
    predicted = int(predictions[row]) if predictions is not None else 0
    return {"name": _class(names, predicted), "right": None if truth is None else predicted == truth}


def _class(names: Sequence[str], label: int) -> str:
    return names[label] if label < len(names) else str(label)


def _data_uri(image: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(np.round(255 * image).astype(np.uint8)).save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
