"""Dual-stream pre-training steps in eager PyTorch, with which `acl_tf` is compared.

Both steps compute what the published ACL code computes (`tests/benchmarks/test_pytorch_step.py` checks that), with
contiguous NCHW images as PyTorch users have them. They differ in the attack only:

* `AuthorsStep` calls `loss.backward()` in every attack step, as the authors do; the gradients of all weights are
  computed there too, and thrown away.
* `LeanStep` asks for the gradient of the perturbation only.
"""

import abc

import torch
from torch import nn
from torch.nn import functional

BRANCHES = ("standard", "adversarial")
EPSILON = 8 / 255
STEP_SIZE = 2 / 255
TEMPERATURE = 0.5


class PairedBatchNorm(nn.Module):
    """Two batch normalisations with nothing in common; the branch names the one that is used."""

    def __init__(self, features: int, layer: type[nn.Module] = nn.BatchNorm2d):
        super().__init__()
        self.bn_list = nn.ModuleList([layer(features) for _ in BRANCHES])

    def forward(self, x: torch.Tensor, branch: str) -> torch.Tensor:
        return self.bn_list[BRANCHES.index(branch)](x)


class Normalize(nn.Module):
    """ImageNet's mean and standard deviation, taken out of images in [0, 1]."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return (images - self.mean[:, None, None]) / self.std[:, None, None]


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """Returns a convolution without bias, padded equally on all sides."""
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)


class Downsample(nn.Module):
    """The shortcut of a block that changes the shape."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv = convolution(inputs, outputs, 1, stride)
        self.bn = PairedBatchNorm(outputs)

    def forward(self, x: torch.Tensor, branch: str) -> torch.Tensor:
        return self.bn(self.conv(x), branch)


class Block(nn.Module, abc.ABC):
    """A residual block, whose subclasses compute the residual that is added to the shortcut."""

    expansion: int

    def __init__(self, inputs: int, planes: int, stride: int):
        super().__init__()
        outputs = planes * self.expansion
        self.downsample = Downsample(inputs, outputs, stride) if stride != 1 or inputs != outputs else None

    def forward(self, x: torch.Tensor, branch: str) -> torch.Tensor:
        shortcut = x if self.downsample is None else self.downsample(x, branch)
        return functional.relu(self.residual(x, branch) + shortcut)

    @abc.abstractmethod
    def residual(self, x: torch.Tensor, branch: str) -> torch.Tensor:
        """Returns the residual that the block adds to its shortcut."""


class BasicBlock(Block):
    """Two 3×3 convolutions (ResNet-18 and 34)."""

    expansion = 1

    def __init__(self, inputs: int, planes: int, stride: int):
        super().__init__(inputs, planes, stride)
        self.conv1, self.bn1 = convolution(inputs, planes, 3, stride), PairedBatchNorm(planes)
        self.conv2, self.bn2 = convolution(planes, planes, 3), PairedBatchNorm(planes)

    def residual(self, x: torch.Tensor, branch: str) -> torch.Tensor:
        x = functional.relu(self.bn1(self.conv1(x), branch))
        return self.bn2(self.conv2(x), branch)


class Bottleneck(Block):
    """1×1, 3×3 and 1×1 convolutions (ResNet-50)."""

    expansion = 4

    def __init__(self, inputs: int, planes: int, stride: int):
        super().__init__(inputs, planes, stride)
        outputs = planes * self.expansion
        self.conv1, self.bn1 = convolution(inputs, planes, 1), PairedBatchNorm(planes)
        self.conv2, self.bn2 = convolution(planes, planes, 3, stride), PairedBatchNorm(planes)
        self.conv3, self.bn3 = convolution(planes, outputs, 1), PairedBatchNorm(outputs)

    def residual(self, x: torch.Tensor, branch: str) -> torch.Tensor:
        x = functional.relu(self.bn1(self.conv1(x), branch))
        x = functional.relu(self.bn2(self.conv2(x), branch))
        return self.bn3(self.conv3(x), branch)


ARCHITECTURES: dict[str, tuple[type[Block], tuple[int, int, int, int]]] = {
    "resnet10": (BasicBlock, (1, 1, 1, 1)),
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
}


class ProjectionHead(nn.Module):
    """Three times Dense and batch normalisation, with ReLU between."""

    def __init__(self, features: int):
        super().__init__()
        self.fc1, self.bn1 = nn.Linear(features, features), PairedBatchNorm(features, nn.BatchNorm1d)
        self.fc2, self.bn2 = nn.Linear(features, features, bias=False), PairedBatchNorm(features, nn.BatchNorm1d)
        self.fc3, self.bn3 = nn.Linear(features, features, bias=False), PairedBatchNorm(features, nn.BatchNorm1d)

    def forward(self, x: torch.Tensor, branch: str) -> torch.Tensor:
        x = functional.relu(self.bn1(self.fc1(x), branch))
        x = functional.relu(self.bn2(self.fc2(x), branch))
        return self.bn3(self.fc3(x), branch)


class ContrastiveResNet(nn.Module):
    """ResNet with the CIFAR stem, paired batch normalisation and a projection head.

    Parameters have the names of the authors' checkpoints.

    Args:
        arch: Name of the architecture, a key of `ARCHITECTURES`.
        width: Factor of the 64, 128, 256 and 512 channels of the four stages.
    """

    def __init__(self, arch: str = "resnet18", width: float = 1.0):
        super().__init__()
        block, depths = ARCHITECTURES[arch]
        planes = [round(width * channels) for channels in (64, 128, 256, 512)]
        outputs = [channels * block.expansion for channels in planes]
        self.normalize = Normalize()
        self.conv1, self.bn1 = convolution(3, planes[0], 3), PairedBatchNorm(planes[0])
        self.layer1 = _stage(block, planes[0], planes[0], depths[0], stride=1)
        self.layer2 = _stage(block, outputs[0], planes[1], depths[1], stride=2)
        self.layer3 = _stage(block, outputs[1], planes[2], depths[2], stride=2)
        self.layer4 = _stage(block, outputs[2], planes[3], depths[3], stride=2)
        self.fc = ProjectionHead(outputs[3])
        self.apply(_initialise_convolution)

    def features(self, images: torch.Tensor, branch: str) -> torch.Tensor:
        """Returns the encoder's output for NCHW images in [0, 1], of shape `(batch, features)`."""
        x = functional.relu(self.bn1(self.conv1(self.normalize(images)), branch))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            for block in stage:
                x = block(x, branch)
        return x.mean(dim=(2, 3))

    def forward(self, images: torch.Tensor, branch: str) -> torch.Tensor:
        return self.fc(self.features(images, branch), branch)


def _stage(block: type[Block], inputs: int, planes: int, depth: int, stride: int) -> nn.ModuleList:
    rest = [block(planes * block.expansion, planes, 1) for _ in range(depth - 1)]
    return nn.ModuleList([block(inputs, planes, stride), *rest])


def _initialise_convolution(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def nt_xent(projections: torch.Tensor, temperature: float = TEMPERATURE) -> torch.Tensor:
    """Returns the mean NT-Xent of 2N projections: N of the first views, then N of the second in the same order."""
    unit = functional.normalize(projections, dim=1)
    similarities = unit @ unit.T / temperature
    similarities.fill_diagonal_(-torch.inf)
    partner = torch.arange(len(unit), device=unit.device).roll(len(unit) // 2)
    return functional.cross_entropy(similarities, partner)


class Lars(torch.optim.Optimizer):
    """SGD with momentum, each tensor at its own rate trust·‖w‖ / (‖g‖ + weight_decay·‖w‖); no tensor is left out."""

    def __init__(self, parameters, lr: float, momentum: float = 0.9, weight_decay: float = 1e-6, trust: float = 1e-3):
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": trust})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            for weight in group["params"]:
                self._update(weight, group)

    def _update(self, weight: torch.Tensor, group: dict) -> None:
        decay = group["weight_decay"]
        weight_norm, gradient_norm = weight.norm(), weight.grad.norm()
        local = group["trust"] * weight_norm / (gradient_norm + decay * weight_norm)
        local = torch.where((weight_norm < 1e-15) | (gradient_norm < 1e-15), 1.0, local)
        state = self.state[weight]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(weight)
        momentum = state["momentum_buffer"].mul_(group["momentum"])
        momentum.add_(group["lr"] * local * (weight.grad + decay * weight))
        weight.sub_(momentum)


class DualStreamStep(abc.ABC):
    """One DS step: attack both views, learn from the clean and the adversarial pair.

    Args:
        arch: Name of the architecture, a key of `ARCHITECTURES`.
        width: Factor of the network's channels.
        steps: Number of steps of the attack.
        learning_rate: Learning rate of LARS.
        device: Device of the model, on which the views must be too.
    """

    def __init__(
        self,
        arch: str = "resnet18",
        width: float = 1.0,
        steps: int = 5,
        learning_rate: float = 5.0,
        device: str = "cpu",
    ):
        self.model = ContrastiveResNet(arch, width).to(device)
        self.optimizer = Lars(self.model.parameters(), learning_rate)
        self.steps = steps

    def step(self, view_i: torch.Tensor, view_j: torch.Tensor) -> float:
        """Trains on two views of a batch, float32 NCHW in [0, 1], and returns the loss."""
        images = torch.cat([view_i, view_j])
        start = torch.empty_like(images).uniform_(-EPSILON, EPSILON)
        loss_standard, loss_adversarial = self.update(images, self.attack(images, start))
        return ((loss_standard + loss_adversarial) / 2).item()

    def attack(self, images: torch.Tensor, delta: torch.Tensor) -> torch.Tensor:
        """Returns both views after contrastive PGD from `delta`: first views, then second views."""
        self.model.eval()
        for _ in range(self.steps):
            delta = delta.detach().requires_grad_()
            loss = nt_xent(self.model(images + delta, "adversarial"))
            delta = delta.detach() + STEP_SIZE * self.gradient(loss, delta).sign()
            delta = (images + delta.clamp(-EPSILON, EPSILON)).clamp(0, 1) - images
        return images + delta

    def update(self, images: torch.Tensor, adversarial: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Takes one LARS step on both pairs and returns the standard and the adversarial loss."""
        self.model.train()
        loss_adversarial = nt_xent(self.model(adversarial, "adversarial"))
        loss_standard = nt_xent(self.model(images, "standard"))
        self.optimizer.zero_grad()
        ((loss_standard + loss_adversarial) / 2).backward()
        self.optimizer.step()
        return loss_standard.detach(), loss_adversarial.detach()

    @abc.abstractmethod
    def gradient(self, loss: torch.Tensor, delta: torch.Tensor) -> torch.Tensor:
        """Returns the gradient of the attacked loss with respect to `delta`."""


class AuthorsStep(DualStreamStep):
    """The step as the authors wrote it: the attack back-propagates to the weights as well."""

    def gradient(self, loss: torch.Tensor, delta: torch.Tensor) -> torch.Tensor:
        self.model.zero_grad()
        loss.backward()
        return delta.grad


class LeanStep(DualStreamStep):
    """The same numbers with less work: the attack back-propagates to the perturbation only."""

    def gradient(self, loss: torch.Tensor, delta: torch.Tensor) -> torch.Tensor:
        (gradient,) = torch.autograd.grad(loss, delta)
        return gradient
