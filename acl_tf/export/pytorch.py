"""Conversion of checkpoints of the authors' PyTorch code to Keras models and back."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from acl_tf.errors import AclTfError, UsageError
from acl_tf.models.branch import Branch
from acl_tf.models.encoder import Encoder
from acl_tf.models.heads import ProjectionHead
from acl_tf.models.paired_batch_norm import PairedBatchNormalization

State = Mapping[str, np.ndarray]
# Architectures by the number of blocks in each stage; ResNet-50, whose blocks have a third convolution, is told below.
RESNETS = {(1, 1, 1, 1): "resnet10", (2, 2, 2, 2): "resnet18", (3, 4, 6, 3): "resnet34"}
WIDE_RESNETS = {4: "wrn-28-10", 5: "wrn-34-10"}
BOTTLENECKS = "resnet50"
IMPORTED = (*RESNETS.values(), BOTTLENECKS, *WIDE_RESNETS.values())
# Indices of the branches in the authors' `bn_list`.
BRANCH_INDEX = {Branch.STANDARD: 0, Branch.ADVERSARIAL: 1}


class ImportedCheckpoint(NamedTuple):
    """The models in a checkpoint.

    Attributes:
        encoder: Encoder with single or paired batch normalisation.
        projection_head: Projection head; None for a checkpoint of fine-tuning.
        classifier: Dense layer on the features; None for a checkpoint of pre-training.
    """

    encoder: Encoder
    projection_head: ProjectionHead | None
    classifier: keras.layers.Dense | None


def read_checkpoint(path: str | Path) -> State:
    """Reads the weights of a PyTorch checkpoint without running any code in it.

    Args:
        path: A file written by `torch.save`: a state dict, or a dict that holds one as `state_dict`.

    Returns:
        `name → array`; without `num_batches_tracked`, and without the prefix `module.` of `DataParallel`.

    Raises:
        AclTfError: If PyTorch is missing, or if the file is not such a checkpoint.
    """
    try:
        import torch
    except ImportError as error:
        raise AclTfError("import-pytorch needs PyTorch: pip install 'acl-tf[pytorch]'") from error
    if not Path(path).is_file():
        raise UsageError(f"No such checkpoint file. Received: {str(path)!r}")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or hostile file can make torch's unpickler raise anything
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise AclTfError(f"{path} is not a PyTorch checkpoint of plain weights: {reason}") from error
    state = checkpoint.get("state_dict", checkpoint) if isinstance(checkpoint, dict) else None
    weights = _weights(state) if isinstance(state, dict) else {}
    if not weights or not all(isinstance(n, str) and isinstance(v, torch.Tensor) for n, v in weights.items()):
        raise AclTfError(f"{path} holds no state dict. Received: {type(checkpoint).__name__}")
    arrays = {name: tensor.detach().float().numpy() for name, tensor in weights.items()}
    if all(name.startswith("module.") for name in arrays):
        arrays = {name.removeprefix("module."): array for name, array in arrays.items()}
    return arrays


def import_state(state: State, image_size: int = 32) -> ImportedCheckpoint:
    """Builds the models that a state dict describes, with its weights.

    Architecture, width, stem, heads, and single or paired batch normalisation follow from names and shapes.

    Args:
        state: `name → array` in PyTorch's layout, with the names of the authors' checkpoints.
        image_size: Height and width of the encoder's input images.

    Returns:
        The models. Every array of `state` is used.

    Raises:
        AclTfError: If the architecture is unknown, or if any array or any weight is left over; all are listed.
    """
    # Fine-tuned checkpoints number the parts of a shortcut, pre-trained ones name them.
    state = {re.sub(r"downsample\.([01])", _shortcut_part, name): array for name, array in state.items()}
    normalization = ("normalize.mean", "normalize.std")
    for name in ("conv1.weight", *normalization):
        if name not in state:
            raise AclTfError(f"The checkpoint has no {name}. Received: {', '.join(sorted(state)[:8])}, …")
    batch_norm = "paired" if any(".bn_list." in name for name in state) else "single"
    encoder = Encoder(
        **_architecture(state),
        image_shape=(image_size, image_size, state["conv1.weight"].shape[1]),
        batch_norm=batch_norm,
        mean=tuple(float(value) for value in state["normalize.mean"].reshape(-1)),
        std=tuple(float(value) for value in state["normalize.std"].reshape(-1)),
    )
    head, classifier = None, None
    if "fc.fc1.weight" in state:
        blocks = sum(f"fc.fc{block}.weight" in state for block in (1, 2, 3))
        head = ProjectionHead(encoder.feature_dim, blocks=blocks, batch_norm=batch_norm)
    elif "fc.weight" in state:
        classifier = keras.layers.Dense(state["fc.weight"].shape[0], name="fc")
        classifier.build((None, encoder.feature_dim))
    _assign(_expected(encoder, head, classifier), {n: a for n, a in state.items() if n not in normalization})
    return ImportedCheckpoint(encoder, head, classifier)


def export_state(encoder: Encoder, classifier: keras.layers.Dense | None = None) -> dict[str, np.ndarray]:
    """Returns the weights in the form of the authors' code, which `import_state` reads.

    Args:
        encoder: Encoder with paired or single batch normalisation.
        classifier: Dense layer on the features, if there is one.

    Returns:
        `name → array` in PyTorch's layout, with `normalize.mean` and `normalize.std`.
    """
    targets = _expected(encoder, None, classifier)
    state = {name: np.transpose(target.variable.numpy(), np.argsort(target.axes)) for name, target in targets.items()}
    statistics = {"normalize.mean": encoder.mean, "normalize.std": encoder.std}
    return {**state, **{name: np.array(values, np.float32) for name, values in statistics.items()}}


def _weights(state: Mapping[Any, Any]) -> dict[Any, Any]:
    """Returns the entries of a checkpoint that are weights of the network."""
    aside = ("epoch", "optim", "optimizer", "scheduler", "best_acc", "args")
    return {n: v for n, v in state.items() if n not in aside and not str(n).endswith("num_batches_tracked")}


def _shortcut_part(match: re.Match[str]) -> str:
    return "downsample." + ("conv", "bn")[int(match.group(1))]


def _architecture(state: State) -> dict[str, Any]:
    """Returns architecture, width and stem, as names and shapes of the weights tell them."""
    first = state["conv1.weight"]
    stem = "imagenet" if first.shape[-1] == 7 else "cifar"
    stages = tuple(_count(state, rf"layer{stage}\.(\d+)\.") for stage in (1, 2, 3, 4))
    wide = _count(state, r"block1\.layer\.(\d+)\.")
    if wide in WIDE_RESNETS:
        return {"arch": WIDE_RESNETS[wide], "width": first.shape[0] / 16, "stem": stem}
    if "layer1.0.conv3.weight" in state and stages == (3, 4, 6, 3):
        return {"arch": BOTTLENECKS, "width": first.shape[0] / 64, "stem": stem}
    if stages in RESNETS:
        return {"arch": RESNETS[stages], "width": first.shape[0] / 64, "stem": stem}
    raise AclTfError(
        f"The checkpoint is of no architecture that is known here ({', '.join(IMPORTED)}). "
        f"Received: {stages} blocks in layer1 to layer4, {wide} in block1"
    )


def _count(state: State, pattern: str) -> int:
    return len({match.group(1) for name in state if (match := re.match(pattern, name))})


class _Target(NamedTuple):
    """The variable for an array, and the order of axes that turns PyTorch's layout into Keras'."""

    variable: keras.Variable
    axes: tuple[int, ...]


def _expected(
    encoder: Encoder, head: ProjectionHead | None, classifier: keras.layers.Dense | None
) -> dict[str, _Target]:
    """Returns the variable for each of PyTorch's arrays, by name."""
    targets: dict[str, _Target] = {}
    for layer in encoder.standard_graph.layers:
        # A Normalization layer's statistics are not trained: the encoder was built with them.
        if not isinstance(layer, keras.layers.Normalization):
            targets |= _targets_of(layer, layer.name.replace("_", "."))
    for layer in head.standard_graph.layers if head else []:
        targets |= _targets_of(layer, f"fc.{layer.name}")
    if classifier:
        targets |= _targets_of(classifier, "fc")
    return targets


def _targets_of(layer: keras.layers.Layer, name: str) -> dict[str, _Target]:
    if isinstance(layer, PairedBatchNormalization):
        sets = {f"{name}.bn_list.{BRANCH_INDEX[branch]}": layer.of(branch) for branch in Branch}
        return dict(target for prefix, norm in sets.items() for target in _norm_targets(norm, prefix))
    if isinstance(layer, keras.layers.BatchNormalization):
        return dict(_norm_targets(layer, name))
    if isinstance(layer, keras.layers.Conv2D):
        return {f"{name}.weight": _Target(layer.kernel, (2, 3, 1, 0))}  # OIHW → HWIO
    if isinstance(layer, keras.layers.Dense):
        bias = {f"{name}.bias": _Target(layer.bias, (0,))} if layer.use_bias else {}
        return {f"{name}.weight": _Target(layer.kernel, (1, 0)), **bias}
    return {}


def _norm_targets(norm: keras.layers.BatchNormalization, name: str) -> Iterator[tuple[str, _Target]]:
    yield f"{name}.weight", _Target(norm.gamma, (0,))
    yield f"{name}.bias", _Target(norm.beta, (0,))
    yield f"{name}.running_mean", _Target(norm.moving_mean, (0,))
    yield f"{name}.running_var", _Target(norm.moving_variance, (0,))


def _assign(targets: dict[str, _Target], state: State) -> None:
    """Assigns every array to its variable, or fails and lists what does not match."""
    missing = sorted(set(targets) - set(state))
    unexpected = sorted(set(state) - set(targets))
    misshapen = [
        f"{name} {state[name].shape}"
        for name, target in targets.items()
        if name in state and _shape_in_pytorch(target) != state[name].shape
    ]
    problems = [("missing", missing), ("unexpected", unexpected), ("of another shape", misshapen)]
    if any(names for _, names in problems):
        listed = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in problems if names)
        raise AclTfError(f"The checkpoint does not match the architecture. {listed}")
    for name, target in targets.items():
        target.variable.assign(np.transpose(state[name], target.axes))


def _shape_in_pytorch(target: _Target) -> tuple[int, ...]:
    shape = [0] * len(target.axes)
    for axis, size in zip(target.axes, target.variable.shape, strict=True):
        shape[axis] = size
    return tuple(shape)
