"""Features in two dimensions: clean and attacked ones, projected by a PCA of the clean ones."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from sklearn.decomposition import PCA

from acl_tf.record_text import epsilon
from acl_tf.report.attacked import STEPS, Attacked
from acl_tf.report.figures import draw
from acl_tf.report.run import Run
from acl_tf.report.section import Section
from acl_tf.report.series import style

OPEN = 4  # runs that are unfolded at first
MARKERS = ("o", "s", "^")  # for the classes 0–9, 10–19, 20–29
STATES = ("clean", "attacked")


def section(runs: Sequence[Run], attacked: Mapping[int, Attacked], failed: Mapping[int, str]) -> Section:
    """Returns the section of features.

    Args:
        runs: All runs of the page.
        attacked: Test images of each run, by its number.
        failed: Reason why a run has none, by its number.
    """
    shown = [_projected(run, attacked[run.number]) for run in runs if run.number in attacked]
    problems = [{"name": run.name, "why": failed[run.number]} for run in runs if run.number in failed]
    absent = "" if shown or problems else "None of these runs has a model."
    return Section("projection", "Features", {"runs": shown, "open": OPEN, "problems": problems}, absent)


def project(clean: np.ndarray, adversarial: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Projects features onto the first two principal components of the clean ones.

    Args:
        clean, adversarial: Features, of shape `(n, features)`.

    Returns:
        Both projections, of shape `(n, 2)`, and the share of the clean features' variance that they explain.
    """
    pca = PCA(2, svd_solver="full").fit(clean)
    return pca.transform(clean), pca.transform(adversarial), float(pca.explained_variance_ratio_.sum())


def _projected(run: Run, attacked: Attacked) -> dict[str, Any]:
    clean, adversarial, share = project(attacked.clean_features, attacked.adversarial_features)
    labels = attacked.labels if attacked.labels is not None else np.zeros(len(clean), int)
    limits = _limits(np.concatenate([clean, adversarial]))
    figures = [
        {"title": state, "svg": _figure(f"projection{run.number}-{state}", f"{run.name}, {state}", x, labels, limits)}
        for state, x in zip(STATES, (clean, adversarial), strict=True)
    ]
    encoder = attacked.clean_predictions is None
    legend = [{"name": name, "style": style(label)} for label, name in enumerate(attacked.classes)]
    return {
        "name": run.name,
        "style": style(run.number),
        "attack": f"PGD-{STEPS}, l∞ {epsilon(attacked.epsilon)}",
        "loss": "the angle to the clean features" if encoder else "cross-entropy",
        "data": attacked.data,
        "n": len(clean),
        "share": f"{100 * share:.0f} %",
        "figures": figures,
        "legend": legend if len(legend) <= 10 * len(MARKERS) else [],
    }


def _limits(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    low, high = points.min(0), points.max(0)
    margin = 0.04 * (high - low) + 1e-6
    return low - margin, high + margin


def _figure(
    key: str, title: str, points: np.ndarray, labels: np.ndarray, limits: tuple[np.ndarray, np.ndarray]
) -> Markup:
    def paint(axes: Axes) -> None:
        for label in np.unique(labels):
            marker = MARKERS[label // 10 % len(MARKERS)]
            x, y = points[labels == label].T
            colour = style(int(label)).placeholder
            axes.plot(x, y, marker, color=colour, markersize=2.8, markeredgewidth=0, alpha=0.8)
        axes.set_xlim(limits[0][0], limits[1][0])
        axes.set_ylim(limits[0][1], limits[1][1])
        axes.set_xlabel("component 1")
        axes.set_ylabel("component 2")

    return draw(key, title, paint, size=(4.4, 3.4))
