"""AutoAttack compared with PyTorch implementations of it, on one classifier and the same images, in one run.

    pip install --no-deps pyautoattack torchattacks
    python benchmarks/autoattack.py MODEL --data-dir DIR --json autoattack.json

MODEL is the model folder of a ResNet that acl-tf trained; its weights go to PyTorch under the authors' names, and
logits must agree to 1e-4. `pyautoattack` is the code of AutoAttack's authors as a package; `torchattacks` is another
kept library. Each attacks all images, a part of them in every turn, and sees none that the model gets wrong. Seconds
are those of the attacks: tracing counts, loading does not. Memory is the peak of the process.
"""

import argparse
import functools
import io
import logging
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from devices import cores, pytorch_device
from memory import process_memory
from rows import Column, column, parser, report
from turns import Built, Case, take_turns

from acl_tf.data import sources
from acl_tf.data.config import DataConfig

FRAMEWORKS = ("acl_tf", "pyautoattack", "torchattacks")
TORCH_NORMS = {"linf": "Linf", "l2": "L2", "l1": "L1"}
WARM_UP = 2  # steps that are not timed
# Maps images in [0, 1] and labels to whether each is robust, and to the number that survived each attack.
Attack = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, dict[str, int]]]


@dataclass
class Parts:
    """Attacks a part of the images in each turn.

    Attributes:
        name: Name of the framework.
        attack: Attack of the framework.
        images: Images in [0, 1], of shape `(n, height, width, 3)`.
        labels: Labels, of shape `(n,)`.
        parts: Number of parts.
        steps: Number of steps so far. The first ones, which are not timed, attack nothing.
        robust: Whether each image of a part is robust, for each part.
        survivors: Survivors of each attack, for each part.
    """

    name: str
    attack: Attack
    images: np.ndarray
    labels: np.ndarray
    parts: int
    steps: int = 0
    robust: list[np.ndarray] = field(default_factory=list)
    survivors: list[dict[str, int]] = field(default_factory=list)

    def step(self) -> None:
        """Attacks the next part."""
        self.steps += 1
        if self.steps > WARM_UP:
            part = np.array_split(np.arange(len(self.images)), self.parts)[self.steps - WARM_UP - 1]
            robust, survivors = self.attack(self.images[part], self.labels[part])
            self.robust.append(robust)
            self.survivors.append(survivors)
            print(f"part {len(self.robust)} of {self.parts}: {self.name} {survivors}", file=sys.stderr, flush=True)

    def totals(self) -> dict[str, Any]:
        """Returns the survivors of all parts together, and the indices of the robust images."""
        survivors = {name: sum(part[name] for part in self.survivors) for name in self.survivors[0]}
        return {"survivors": survivors, "robust": np.flatnonzero(np.concatenate(self.robust)).tolist()}


def main() -> None:
    """Runs all frameworks and prints the table."""
    arguments = parse()
    build = functools.partial(build_parts, arguments)
    cases: list[Case[str]] = take_turns(build, [(framework,) for framework in arguments.frameworks], arguments.parts)
    rows = [row(case, cases, arguments) for case in cases]
    title = (
        f"AutoAttack {arguments.version}, {arguments.norm} {arguments.epsilon:.5f}, {arguments.images} images of "
        f"{arguments.dataset}, {Path(arguments.model)}"
    )
    columns = [
        column("framework", "framework"),
        column("images/s", "images_per_second", ".3f"),
        column("seconds", "seconds", ".1f"),
        *(column(f"× {name}", f"speed_up.{name}", ".2f") for name in arguments.frameworks if name != "acl_tf"),
        column("clean", "survivors.clean"),
        column("robust", "robust_images"),
        column("robust here alone", "robust_here_alone"),
        Column("peak memory, MB", lambda row: row["peak_memory_bytes"] / 1e6, ".0f"),
    ]
    report(title, columns, rows, arguments.json)
    for measured in rows:
        print(measured["framework"], measured["survivors"])


def parse() -> argparse.Namespace:
    """Reads the command line."""
    options = parser(__doc__)
    options.add_argument("model", metavar="MODEL", help="a model folder")
    options.add_argument("--dataset", default="cifar10")
    options.add_argument("--data-dir")
    options.add_argument("--split", default="test")
    options.add_argument("--images", type=int, default=1000)
    options.add_argument("--parts", type=int, default=4, help="turns in which each framework attacks them")
    options.add_argument("--norm", choices=TORCH_NORMS, default="linf")
    options.add_argument("--epsilon", type=float, default=8 / 255)
    options.add_argument("--version", choices=("standard", "plus", "rand"), default="standard")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--batch-size", type=int, default=250)
    options.add_argument("--frameworks", nargs="+", choices=FRAMEWORKS, default=["acl_tf", "pyautoattack"])
    return options.parse_args()


def row(case: Case[str], cases: list[Case[str]], arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns the results of a framework, and its speed relative to the others."""
    about, seconds = case.about[0], sum(case.seconds)
    others = [set(other.about[0]["robust"]) for other in cases if other is not case]
    return {
        "framework": case.spec,
        "precision": "float32",
        "version": arguments.version,
        "norm": arguments.norm,
        "epsilon": arguments.epsilon,
        "images": arguments.images,
        "batch_size": arguments.batch_size,
        "seed": arguments.seed,
        "seconds": round(seconds, 2),
        "seconds_of_turns": [round(turn, 2) for turn in case.seconds],
        "images_per_second": round(arguments.images / seconds, 4),
        "speed_up": {other.spec: round(sum(other.seconds) / seconds, 3) for other in cases},
        "survivors": about["survivors"],
        "robust": about["robust"],
        "robust_images": len(about["robust"]),
        "robust_here_alone": len(set(about["robust"]).difference(*others)) if others else None,
        "logits_differ_by": about["logits_differ_by"],
        "peak_memory_bytes": about["peak_memory_bytes"],
        "cores": cores(),
        "device": case.device,
    }


def build_parts(arguments: argparse.Namespace, framework: str) -> Built:
    """Builds the attack of a framework on the model and the images."""
    from acl_tf.startup import start_tensorflow

    start_tensorflow()

    from acl_tf import load

    config = DataConfig(
        dataset=arguments.dataset, data_dir=arguments.data_dir, split=arguments.split, limit=arguments.images
    )
    image_set = sources.load(config)
    images, labels = image_set.images.astype(np.float32) / np.float32(255.0), np.asarray(image_set.labels)
    logits = load(arguments.model)(images[:32], training=False).numpy()
    builders = {"acl_tf": acl_tf_attack, "pyautoattack": pyautoattack_attack, "torchattacks": torchattacks_attack}
    attack, predict = builders[framework](arguments)
    difference = float(np.abs(predict(images[:32]) - logits).max())
    if difference > 1e-4:
        raise SystemExit(f"The logits of {framework} differ from those of the model by {difference:.2g}.")
    parts, memory = Parts(framework, attack, images, labels, arguments.parts), process_memory()

    def afterwards() -> dict[str, Any]:
        return {**parts.totals(), **memory(), "logits_differ_by": difference}

    return Built(parts.step, pytorch_device()[0], afterwards)


def acl_tf_attack(arguments: argparse.Namespace) -> tuple[Attack, Callable]:
    """Returns the attack of `acl-tf evaluate --attack autoattack`."""
    from acl_tf.attacks.autoattack.suite import AutoAttack
    from acl_tf.classifiers.loading import load_classifier

    model = load_classifier(arguments.model)

    def attack(images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, dict[str, int]]:
        evaluation = AutoAttack(
            model.logits,
            arguments.norm,
            arguments.epsilon,
            arguments.version,
            seed=arguments.seed,
            batch_size=arguments.batch_size,
            crafted_on=model.attacked,
        )
        result = evaluation.run(images, labels)
        return result.robust, result.survivors

    return attack, lambda images: model.logits(images).numpy()


def pyautoattack_attack(arguments: argparse.Namespace) -> tuple[Attack, Callable]:
    """Returns the authors' AutoAttack, used as in their README."""
    import torch
    from pyautoattack import AutoAttack

    model, place = torch_classifier(arguments.model)

    def attack(images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, dict[str, int]]:
        evaluation = AutoAttack(
            model,
            norm=TORCH_NORMS[arguments.norm],
            eps=arguments.epsilon,
            version=arguments.version,
            device=place,
            seed=arguments.seed,
        )
        log = io.StringIO()
        evaluation.logger.handlers = [logging.StreamHandler(log)]
        evaluation.logger.setLevel(logging.DEBUG)
        found, _ = evaluation.run_standard_evaluation(
            nchw(images), torch.tensor(labels, dtype=torch.long), batch_size=arguments.batch_size
        )
        accuracies = re.findall(r"(initial) accuracy: ([\d.]+)%|after (\S+): ([\d.]+)%", log.getvalue())
        survivors = {
            "clean" if initial else name.lower(): round(float(first or later) * len(images) / 100)
            for initial, first, name, later in accuracies
        }
        return predict(np.moveaxis(found.numpy(), 1, -1)).argmax(1) == labels, survivors

    predict = predictor(model, place)
    return attack, predict


def torchattacks_attack(arguments: argparse.Namespace) -> tuple[Attack, Callable]:
    """Returns the AutoAttack of torchattacks."""
    import torch
    import torchattacks

    model, place = torch_classifier(arguments.model)
    predict = predictor(model, place)

    def attack(images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, dict[str, int]]:
        evaluation = torchattacks.AutoAttack(
            model, TORCH_NORMS[arguments.norm], arguments.epsilon, arguments.version, n_classes=10, seed=arguments.seed
        )
        right = predict(images).argmax(1) == labels
        found = images.copy()
        for rows in np.array_split(np.flatnonzero(right), -(-right.sum() // arguments.batch_size)):
            attacked = evaluation(nchw(images[rows]).to(place), torch.tensor(labels[rows], dtype=torch.long))
            found[rows] = np.moveaxis(attacked.cpu().numpy(), 1, -1)
        return predict(found).argmax(1) == labels, {"clean": int(right.sum())}

    return attack, predict


def torch_classifier(folder: str) -> tuple[Any, str]:
    """Returns the PyTorch network with the weights of a model folder, in inference mode, and its device."""
    import pytorch_step as peers
    import torch

    from acl_tf import load
    from acl_tf.export.pytorch import export_state
    from acl_tf.model_folder.read import load_encoder

    classifier, encoder = load(folder), load_encoder(folder)
    config = classifier.config
    kernel, bias = classifier.get_layer("fc").get_weights()
    network = peers.ContrastiveResNet(config["arch"], config["width"])
    state = {name: torch.tensor(array) for name, array in export_state(encoder).items()}
    shapes = {name: value.shape for name, value in network.state_dict().items()}
    network.load_state_dict({name: value.reshape(shapes[name]) for name, value in state.items()}, strict=False)

    class Classifier(torch.nn.Module):
        """The network on the published branch, with the linear layer."""

        def __init__(self) -> None:
            super().__init__()
            self.network = network
            self.fc = torch.nn.Linear(*kernel.shape)
            self.fc.weight.data, self.fc.bias.data = torch.tensor(kernel.T), torch.tensor(bias)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.fc(self.network.features(images, config["branch"]))

    place = "cuda" if pytorch_device()[0] == "GPU" else "cpu"
    return Classifier().eval().to(place), place


def predictor(model: Any, place: str) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a function from NHWC images to logits."""
    import torch

    def predict(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return np.concatenate([model(part.to(place)).cpu().numpy() for part in nchw(images).split(250)])

    return predict


def nchw(images: np.ndarray) -> Any:
    """Returns images as a PyTorch tensor, channels first."""
    import torch

    return torch.tensor(np.ascontiguousarray(np.moveaxis(images, -1, 1)))


if __name__ == "__main__":
    main()
