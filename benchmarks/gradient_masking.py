"""What an attack without EOT misses: a classifier, and the same one smoothed by Gaussian noise, as RUSH does.

    python benchmarks/gradient_masking.py RUN --data-dir tensorflow_datasets --json masking.json

Without options: 200 CIFAR-10 test images, sigma 0.12 and 0.25, PGD-20 in the l∞ balls of 2/255 and 8/255 on the
plain network and on the smoothed one, with one draw of the noise for each gradient (no EOT) and with the mean of 20.
`crafted on plain` takes the attack of the plain network to the smoothed one. The last column is what randomised
smoothing proves: certified accuracy at the l2 radius of the whole l∞ ball, epsilon · √(values of an image); `provable`
is the largest radius that so many draws can prove. Accuracy under an attack is an upper bound, the certificate a lower
one; a wide gap between attacks without and with EOT is masked gradients.

Reference: Liu et al., "RUSH: Robust Contrastive Learning via Randomized Smoothing", 2022; Athalye et al., "Obfuscated
Gradients Give a False Sense of Security", ICML 2018.
"""

import argparse
import math
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from rows import Column, Row, column, parser, report

from acl_tf.data import sources
from acl_tf.data.config import DataConfig
from acl_tf.startup import start_tensorflow


def main() -> None:
    """Measures all cases and prints the table."""
    arguments = parse()
    start_tensorflow()
    rows = list(measured(arguments))
    columns = [
        column("sigma", "sigma", "g"),
        Column("epsilon", lambda row: f"{255 * row['epsilon']:g}/255"),
        *(percent(name) for name in ("plain_clean", "plain", "clean", "crafted_on_plain", "no_eot", "eot")),
        column("l2 radius", "radius", ".3f"),
        column("provable", "largest_radius", ".3f"),
        percent("certified"),
    ]
    title = f"{arguments.model}, {arguments.images} images, EOT {arguments.eot}, n {arguments.n}, %"
    report(title, columns, rows, arguments.json)


def parse() -> argparse.Namespace:
    """Reads the command line."""
    options = parser(__doc__)
    options.add_argument("model", metavar="RUN")
    options.add_argument("--dataset", default="cifar10")
    options.add_argument("--data-dir")
    options.add_argument("--images", type=int, default=200)
    options.add_argument("--sigmas", type=float, nargs="+", default=[0.12, 0.25])
    options.add_argument("--epsilons", type=float, nargs="+", default=[2.0, 8.0], help="in units of 1/255")
    options.add_argument("--eot", type=int, default=20)
    options.add_argument("--samples", type=int, default=100, help="draws that vote on an image")
    options.add_argument("--n", type=int, default=1000, help="draws of a certificate; 100 others choose the class")
    options.add_argument("--seed", type=int, default=0)
    return options.parse_args()


def percent(name: str) -> Column:
    """Returns the column of a share."""
    return Column(name.replace("_", " "), lambda row: 100 * row[name], ".1f")


def measured(arguments: argparse.Namespace) -> Iterator[Row]:
    """Yields a row for each sigma and radius of the ball."""
    from acl_tf.classifiers.loading import load_classifier
    from acl_tf.classifiers.smoothed import SmoothedClassifier
    from acl_tf.evaluate import clean
    from acl_tf.evaluate.base import Evaluation

    model = load_classifier(arguments.model)
    data = DataConfig(dataset=arguments.dataset, data_dir=arguments.data_dir, split="test", limit=arguments.images)
    images = sources.load(data)
    evaluation = Evaluation(images, arguments.seed, batch_size=50)
    plain_clean = clean.measure(evaluation, model.logits)[0]["value"]
    plain = {epsilon: under_attack(evaluation, model.logits, model.attacked, epsilon) for epsilon in arguments.epsilons}
    for sigma in arguments.sigmas:
        smoothed = SmoothedClassifier(model.attacked, sigma, arguments.samples, arguments.seed)
        seen = SmoothedClassifier(model.attacked, sigma, 1, arguments.seed)
        accuracy = clean.measure(evaluation, smoothed)[0]["value"]
        certificates, largest = certified(arguments, model, images, sigma)
        for epsilon in arguments.epsilons:
            radius = epsilon / 255 * math.sqrt(np.prod(images.image_shape))
            yield {
                "sigma": sigma,
                "epsilon": epsilon / 255,
                "plain_clean": plain_clean,
                "plain": plain[epsilon],
                "clean": accuracy,
                "crafted_on_plain": under_attack(evaluation, smoothed, model.attacked, epsilon),
                "no_eot": under_attack(evaluation, smoothed, seen, epsilon, eot=1),
                "eot": under_attack(evaluation, smoothed, seen, epsilon, eot=arguments.eot),
                "radius": radius,
                "largest_radius": largest,
                "certified": float(np.mean([certificate.holds_at(radius) for certificate in certificates])),
                "images": len(images),
                "model_sha256": model.sha256,
            }


def under_attack(evaluation: Any, model: Any, seen: Any, epsilon: float, eot: int = 1) -> float:
    """Returns the accuracy of a model under PGD-20 that looks at what is `seen`; `epsilon` in units of 1/255."""
    from acl_tf.evaluate.robust import RobustAccuracy

    record = RobustAccuracy("pgd20", epsilon=epsilon / 255, eot=eot).measure(evaluation, model, seen)[0]
    found = f"{100 * record['value']:.1f} %, {record['seconds']:.0f} s"
    print(f"epsilon {epsilon:g}/255, EOT {eot}: {found}", file=sys.stderr)
    return record["value"]


def certified(arguments: argparse.Namespace, model: Any, images: Any, sigma: float) -> tuple[list[Any], float]:
    """Returns the certificates of all images, and the largest radius that so many draws can prove."""
    from acl_tf.certify.bounds import largest_radius
    from acl_tf.certify.config import CertifyConfig
    from acl_tf.certify.run import certify_image
    from acl_tf.certify.vote_counter import VoteCounter
    from acl_tf.classifiers.smoothed import SmoothedClassifier

    config = CertifyConfig(model=arguments.model, sigma=sigma, n=arguments.n, seed=arguments.seed)
    smoothed = SmoothedClassifier(model.attacked, sigma, arguments.n, arguments.seed)
    counter = VoteCounter(smoothed, len(model.classes), 250)
    certificates = [certify_image(config, counter, images, place, place) for place in range(len(images))]
    return certificates, largest_radius(arguments.n, sigma, config.alpha)


if __name__ == "__main__":
    main()
