"""Speed of an evaluation under PGD-20, beside two plain eager PyTorch loops on the same weights, in one run.

    python benchmarks/pgd_evaluation.py --json pgd.json

Without options: ResNet-18 and 128 images of `digits`, float32. The weights are PyTorch's: random ones, statistics of
batch normalisation from the images, and a linear layer fitted by least squares; acl_tf imports them as it imports the
authors' checkpoints. `pytorch` calls `loss.backward()`, as the authors' evaluation does, and so computes gradients of
all weights; `pytorch_lean` asks for the gradient of the images only. Each draws its own random starts, so robust
accuracies may differ by an image; at the default radius they are neither 0 nor 1.
"""

import argparse
import json
import os
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_step as peers
import torch
from rich.console import Console
from rich.table import Table
from turns import Step, take_turns

from acl_tf.config import DataConfig
from acl_tf.data import sources
from acl_tf.data.image_set import ImageSet

STEPS = 20


class Classifier(torch.nn.Module):
    """The authors' network on the adversarial branch, with a linear layer on its features.

    Args:
        width: Multiplies the numbers of channels.
        images: Of shape `(n, 3, height, width)`, in [0, 1]; they set the statistics, and the linear layer is fitted
            to them.
        labels: Of shape `(n,)`.
    """

    def __init__(self, width: float, images: torch.Tensor, labels: torch.Tensor):
        super().__init__()
        torch.manual_seed(0)
        self.network = peers.ContrastiveResNet("resnet18", width)
        with torch.no_grad():
            for module in self.network.modules():
                module.momentum = 1.0  # of batch normalisation: the statistics are those of these images
            self.features(images)
            self.eval()
            design = torch.nn.functional.pad(self.features(images), (0, 1), value=1.0)
            targets = torch.nn.functional.one_hot(labels).float()
            ridge = design.T @ design + 1e-2 * len(design) * torch.eye(design.shape[1])
            solution = 10 * torch.linalg.solve(ridge, design.T @ targets)
        self.weight = torch.nn.Parameter(solution[:-1])
        self.bias = torch.nn.Parameter(solution[-1])

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Features of images, of shape `(batch, features)`."""
        return self.network.features(images, "adversarial")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.features(images) @ self.weight + self.bias


def main() -> None:
    """Times all cases and prints the table."""
    arguments = parse()
    wanted = [("acl_tf", "float32"), ("pytorch", "float32"), ("pytorch_lean", "float32")]
    cases = take_turns(wanted, build_step, arguments.rounds, arguments)
    medians = {case.framework: statistics.median(case.seconds) for case in cases}
    rows = [
        {
            "framework": case.framework,
            "precision": case.precision,
            "arch": "resnet18",
            "width": arguments.width,
            "images": arguments.images,
            "attack_steps": STEPS,
            "epsilon": arguments.epsilon,
            "images_per_second": round(arguments.images / medians[case.framework], 3),
            "robust_accuracy": case.results[-1],
            "speed_up": {name: round(medians[name] / medians[case.framework], 3) for name in medians},
            "cores": os.cpu_count(),
            "device": case.device,
        }
        for case in cases
    ]
    print_table(rows)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--epsilon", type=float, default=0.1 / 255)
    parser.add_argument("--rounds", type=int, default=3, help="timed evaluations of each case")
    parser.add_argument("--json", help="write the rows to this file")
    return parser.parse_args()


def build_step(framework: str, precision: str, arguments: argparse.Namespace) -> tuple[Step, str]:
    """Returns what evaluates all test images and returns the robust accuracy, and its device."""
    train, test = (sources.load(DataConfig(dataset="digits", split=split)) for split in ("train", "test"))
    test = test.first(arguments.images)
    model = Classifier(arguments.width, nchw(train.images[:512]), torch.tensor(train.labels[:512]))
    if framework == "acl_tf":
        return acl_tf_step(model, test, arguments.epsilon)
    return pytorch_step(model, test, arguments.epsilon, lean=framework == "pytorch_lean")


def acl_tf_step(model: Classifier, images: ImageSet, epsilon: float) -> tuple[Step, str]:
    """Returns what `acl-tf evaluate --attack pgd20` does, on the imported weights."""
    from acl_tf.startup import start_tensorflow

    start_tensorflow()

    import functools

    import tensorflow as tf

    from acl_tf.evaluate import robust
    from acl_tf.evaluate.attack_settings import PGD20Settings
    from acl_tf.evaluate.base import Evaluation
    from acl_tf.export.pytorch import import_state
    from acl_tf.models.heads import linear_classifier
    from acl_tf.models.paired_model import extract_branch

    state = {name: value.numpy() for name, value in model.network.state_dict().items() if "num_batches" not in name}
    classifier = linear_classifier(extract_branch(import_state(state).encoder, "adversarial"), model.weight.shape[1])
    classifier.get_layer("fc").set_weights([model.weight.detach().numpy(), model.bias.detach().numpy()])
    settings = PGD20Settings(epsilon=epsilon)
    predict = robust.predictor(functools.partial(classifier, training=False), settings)
    evaluation = Evaluation(images, batch_size=len(images))

    def step() -> float:
        return evaluation.measure("robust_accuracy", predict, settings.protocol("pgd20", 0))[0]["value"]

    return step, "GPU" if tf.config.list_physical_devices("GPU") else "CPU"


def pytorch_step(model: Classifier, images: ImageSet, epsilon: float, lean: bool) -> tuple[Step, str]:
    """Returns PGD-20 as PyTorch users write it: `loss.backward()`, or the gradient of the images alone."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model, clean = model.to(device), nchw(images.images).to(device)
    labels = torch.tensor(images.labels, device=device)

    def gradient(attacked: torch.Tensor) -> torch.Tensor:
        attacked = attacked.detach().requires_grad_()
        loss = torch.nn.functional.cross_entropy(model(attacked), labels, reduction="sum")
        if lean:
            return torch.autograd.grad(loss, attacked)[0]
        model.zero_grad()
        loss.backward()
        return attacked.grad

    def step() -> float:
        attacked = clean + torch.empty_like(clean).uniform_(-epsilon, epsilon)
        for _ in range(STEPS):
            attacked = attacked + epsilon / 4 * gradient(attacked).sign()
            attacked = torch.min(torch.max(attacked, clean - epsilon), clean + epsilon).clamp(0, 1)
        with torch.no_grad():
            return (model(attacked).argmax(1) == labels).float().mean().item()

    return step, "GPU" if device == "cuda" else "CPU"


def nchw(images: np.ndarray) -> torch.Tensor:
    """Returns uint8 NHWC images as PyTorch has them: float32 in [0, 1], channels first."""
    return torch.tensor(images.transpose(0, 3, 1, 2), dtype=torch.float32) / 255


def print_table(rows: list[dict[str, Any]]) -> None:
    """Prints one line a case."""
    first = rows[0]
    table = Table(
        title=f"PGD-20: {first['arch']}, width {first['width']:g}, {first['images']} images, epsilon "
        f"{first['epsilon']:.4f}, {first['device']}"
    )
    for column in ("framework", "images/s", "× pytorch", "× pytorch_lean", "RA %"):
        table.add_column(column, justify="left" if column == "framework" else "right")
    for entry in rows:
        ratios = [f"{entry['speed_up'][name]:.2f}" for name in ("pytorch", "pytorch_lean")]
        table.add_row(
            entry["framework"], f"{entry['images_per_second']:.2f}", *ratios, f"{100 * entry['robust_accuracy']:.2f}"
        )
    Console().print(table)


if __name__ == "__main__":
    main()
