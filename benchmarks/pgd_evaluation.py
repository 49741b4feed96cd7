"""Speed of an evaluation under PGD-20, beside two plain eager PyTorch loops on the same weights, in one run.

    python benchmarks/pgd_evaluation.py --json pgd.json

Without options: ResNet-18 and 128 images of `digits`, float32. The weights are PyTorch's: random ones, statistics of
batch normalisation from the images, and a linear layer fitted by least squares; acl_tf imports them as it imports the
authors' checkpoints. `pytorch` calls `loss.backward()`, as the authors' evaluation does, and so computes gradients of
all weights; `pytorch_lean` asks for the gradient of the images only. Each draws its own random starts, so robust
accuracies may differ by an image; at the default radius they are neither 0 nor 1.
"""

import argparse
import functools
import statistics
from typing import Any

import numpy as np
import pytorch_step as peers
import torch
from devices import cores, pytorch_device, tensorflow_device
from rows import Column, column, parser, report
from turns import Built, Case, take_turns

from acl_tf.data import sources
from acl_tf.data.config import DataConfig
from acl_tf.data.image_set import ImageSet

STEPS = 20
FRAMEWORKS = ("acl_tf", "pytorch", "pytorch_lean")


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
    build = functools.partial(build_step, arguments)
    cases: list[Case[str]] = take_turns(build, [(framework,) for framework in FRAMEWORKS], arguments.rounds)
    rows = [row(case, cases, arguments) for case in cases]
    title = (
        f"PGD-20: resnet18, width {arguments.width:g}, {arguments.images} images, epsilon {arguments.epsilon:.4f}, "
        f"{rows[0]['device']}"
    )
    columns = [
        column("framework", "framework"),
        column("images/s", "images_per_second", ".2f"),
        column("× pytorch", "speed_up.pytorch", ".2f"),
        column("× pytorch_lean", "speed_up.pytorch_lean", ".2f"),
        Column("RA %", lambda row: 100 * row["robust_accuracy"], ".2f"),
    ]
    report(title, columns, rows, arguments.json)


def parse() -> argparse.Namespace:
    """Reads the command line."""
    options = parser(__doc__)
    options.add_argument("--width", type=float, default=1.0)
    options.add_argument("--images", type=int, default=128)
    options.add_argument("--epsilon", type=float, default=0.1 / 255)
    options.add_argument("--rounds", type=int, default=3, help="timed evaluations of each case")
    return options.parse_args()


def row(case: Case[str], cases: list[Case[str]], arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns what was measured of a framework, and its ratio to the others."""
    medians = {other.spec: statistics.median(other.seconds) for other in cases}
    return {
        "framework": case.spec,
        "precision": "float32",
        "arch": "resnet18",
        "width": arguments.width,
        "images": arguments.images,
        "attack_steps": STEPS,
        "epsilon": arguments.epsilon,
        "images_per_second": round(arguments.images / medians[case.spec], 3),
        "robust_accuracy": case.results[-1],
        "speed_up": {name: round(median / medians[case.spec], 3) for name, median in medians.items()},
        "cores": cores(),
        "device": case.device,
    }


def build_step(arguments: argparse.Namespace, framework: str) -> Built:
    """Builds what evaluates all test images and returns the robust accuracy."""
    train, test = (sources.load(DataConfig(dataset="digits", split=split)) for split in ("train", "test"))
    test = test.first(arguments.images)
    model = Classifier(arguments.width, nchw(train.images[:512]), torch.tensor(train.labels[:512]))
    if framework == "acl_tf":
        return acl_tf_step(model, test, arguments.epsilon)
    return pytorch_step(model, test, arguments.epsilon, lean=framework == "pytorch_lean")


def acl_tf_step(model: Classifier, images: ImageSet, epsilon: float) -> Built:
    """Returns what `acl-tf evaluate --attack pgd20` does, on the imported weights."""
    from acl_tf.startup import start_tensorflow

    start_tensorflow()

    from acl_tf.evaluate.base import Evaluation
    from acl_tf.evaluate.robust import RobustAccuracy
    from acl_tf.export.pytorch import import_state
    from acl_tf.models.heads import linear_classifier
    from acl_tf.models.paired_model import extract_branch

    state = {name: value.numpy() for name, value in model.network.state_dict().items() if "num_batches" not in name}
    classifier = linear_classifier(extract_branch(import_state(state).encoder, "adversarial"), model.weight.shape[1])
    classifier.get_layer("fc").set_weights([model.weight.detach().numpy(), model.bias.detach().numpy()])
    evaluator = RobustAccuracy("pgd20", epsilon=epsilon)
    predict = evaluator.predictor(functools.partial(classifier, training=False))
    evaluation = Evaluation(images, batch_size=len(images))

    def step() -> float:
        return evaluation.measure("robust_accuracy", predict, evaluator.protocol(0))[0]["value"]

    return Built(step, tensorflow_device()[0])


def pytorch_step(model: Classifier, images: ImageSet, epsilon: float, lean: bool) -> Built:
    """Returns PGD-20 as PyTorch users write it: `loss.backward()`, or the gradient of the images alone."""
    device, _ = pytorch_device()
    place = "cuda" if device == "GPU" else "cpu"
    model, clean = model.to(place), nchw(images.images).to(place)
    labels = torch.tensor(images.labels, device=place)

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

    return Built(step, device)


def nchw(images: np.ndarray) -> torch.Tensor:
    """Returns uint8 NHWC images as PyTorch has them: float32 in [0, 1], channels first."""
    return torch.tensor(images.transpose(0, 3, 1, 2), dtype=torch.float32) / 255


if __name__ == "__main__":
    main()
