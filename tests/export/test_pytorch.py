import importlib.util
import io
import pickle
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acl_tf.errors import AclTfError, UsageError
from acl_tf.export.pytorch import ImportedCheckpoint, import_state, read_checkpoint
from acl_tf.models.branch import Branch

State = dict[str, np.ndarray]
ROOT = Path(__file__).resolve().parents[2]


def state_of(arrays: dict[str, np.ndarray]) -> State:
    return {name.removeprefix("state/"): array for name, array in arrays.items() if name.startswith("state/")}


@pytest.fixture
def state(parity) -> State:
    """A pre-trained checkpoint of the authors."""
    return state_of(parity)


@pytest.fixture
def fine_tuned(autoattack_parity) -> State:
    """A fine-tuned one."""
    return state_of(autoattack_parity)


@pytest.fixture
def torch() -> types.ModuleType:
    return pytest.importorskip("torch", reason="reads checkpoints of PyTorch")


@pytest.fixture
def save(torch, tmp_path) -> Callable[[Any], Path]:
    """Writes what PyTorch writes."""

    def write(content: Any) -> Path:
        torch.save(content, tmp_path / "checkpoint.pt")
        return tmp_path / "checkpoint.pt"

    return write


def assert_published_features(imported: ImportedCheckpoint, parity: dict[str, np.ndarray]) -> None:
    for branch in Branch:
        features = imported.encoder(parity["view_i"], branch=branch)
        np.testing.assert_allclose(features, parity[f"eval/{branch}/features_i"], atol=1e-4)


class TestImport:
    """From arrays to models; needs no PyTorch."""

    def test_pretrained(self, state, parity):
        imported = import_state(state)
        encoder, head = imported.encoder, imported.projection_head
        assert (encoder.arch, encoder.width, encoder.stem, encoder.batch_norm) == ("resnet18", 0.125, "cifar", "paired")
        assert encoder.image_shape == (32, 32, 3)
        np.testing.assert_allclose(encoder.mean, state["normalize.mean"])
        np.testing.assert_allclose(encoder.std, state["normalize.std"])
        assert (head.input_dim, head.blocks, head.batch_norm) == (64, 3, "paired")
        assert imported.classifier is None
        assert_published_features(imported, parity)
        for branch in Branch:
            features = parity[f"eval/{branch}/features_i"]
            expected = parity[f"eval/{branch}/projection_i"]
            np.testing.assert_allclose(head(features, branch=branch), expected, atol=1e-4)

    def test_without_projection_head(self, state, parity):
        imported = import_state({name: array for name, array in state.items() if not name.startswith("fc.")})
        assert imported.projection_head is None and imported.classifier is None
        assert_published_features(imported, parity)

    def test_projection_head_of_two_blocks(self, state, parity):
        imported = import_state({name: a for name, a in state.items() if "fc.fc3" not in name and "fc.bn3" not in name})
        head = imported.projection_head
        assert head.blocks == 2
        np.testing.assert_array_equal(head.standard_graph.get_layer("fc2").kernel, state["fc.fc2.weight"].T)
        assert_published_features(imported, parity)

    def test_fine_tuned(self, fine_tuned, autoattack_parity):
        imported = import_state(fine_tuned)
        assert imported.encoder.batch_norm == "single" and imported.projection_head is None
        assert imported.classifier.units == 10
        images = autoattack_parity["images"].astype("float32") / 255
        for branch in Branch:
            logits = imported.classifier(imported.encoder(images, branch=branch))
            np.testing.assert_allclose(logits, autoattack_parity["logits"], atol=1e-4)

    @pytest.mark.parametrize("shape", [(3,), (3, 1, 1), (1, 3, 1, 1)])
    def test_shape_of_the_normalisation_does_not_matter(self, state, shape):
        for name in ("normalize.mean", "normalize.std"):
            state[name] = state[name].reshape(shape)
        assert len(import_state(state).encoder.mean) == 3

    def test_image_size(self, state):
        assert import_state(state, image_size=64).encoder.image_shape == (64, 64, 3)


class TestMismatch:
    """Every array must find its place, and every weight its array."""

    def test_everything_that_does_not_match_is_listed(self, state):
        del state["layer1.0.conv1.weight"], state["fc.bn3.bn_list.1.running_var"]
        state["layer1.0.conv1.extra"] = np.zeros(3)
        state["head.weight"] = np.zeros((2, 2))
        state["layer4.1.conv2.weight"] = np.zeros((64, 64, 1, 1))
        state["bn1.bn_list.0.bias"] = np.zeros(9)
        with pytest.raises(AclTfError) as error:
            import_state(state)
        assert str(error.value) == (
            "The checkpoint does not match the architecture. "
            "missing: fc.bn3.bn_list.1.running_var, layer1.0.conv1.weight; "
            "unexpected: head.weight, layer1.0.conv1.extra; "
            "of another shape: bn1.bn_list.0.bias (9,), layer4.1.conv2.weight (64, 64, 1, 1)"
        )

    @pytest.mark.parametrize(
        "change, message",
        [
            (lambda s: s.pop("bn1.bn_list.1.weight"), "missing: bn1.bn_list.1.weight"),
            (lambda s: s.update({"bn1.bn_list.2.weight": np.ones(8)}), "unexpected: bn1.bn_list.2.weight"),
            (lambda s: s.update({"conv1.bias": np.ones(8)}), "unexpected: conv1.bias"),
            (lambda s: s.pop("fc.fc2.weight"), "missing: fc.fc2.weight; unexpected: "),
            (lambda s: s.update({"fc.fc1.weight": np.ones((64, 65))}), "of another shape: fc.fc1.weight (64, 65)"),
            (lambda s: s.update({"normalize.gamma": np.ones(3)}), "unexpected: normalize.gamma"),
        ],
    )
    def test_one_array(self, state, change, message):
        change(state)
        with pytest.raises(AclTfError) as error:
            import_state(state)
        assert message in str(error.value)

    def test_transposed_kernels_are_refused(self, state):
        """A kernel in Keras' own layout has as many numbers."""
        state["layer2.0.conv1.weight"] = np.transpose(state["layer2.0.conv1.weight"], (2, 3, 1, 0))
        with pytest.raises(AclTfError, match=r"of another shape: layer2.0.conv1.weight \(3, 3, 8, 16\)"):
            import_state(state)

    @pytest.mark.parametrize("name", ["conv1.weight", "normalize.mean", "normalize.std"])
    def test_what_every_checkpoint_has(self, state, name):
        del state[name]
        with pytest.raises(AclTfError, match=f"The checkpoint has no {name}. Received: bn1.bn_list.0.bias, "):
            import_state(state)

    def test_unknown_architecture(self, state):
        state = {name: array for name, array in state.items() if not name.startswith(("layer3.1", "layer4"))}
        with pytest.raises(AclTfError) as error:
            import_state(state)
        assert str(error.value) == (
            "The checkpoint is of no architecture that is known here (resnet10, resnet18, resnet34, resnet50, "
            "wrn-28-10, wrn-34-10). Received: (2, 2, 1, 0) blocks in layer1 to layer4, 0 in block1"
        )


def test_pytorch_is_missing(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch", None)  # any import of it fails
    with pytest.raises(AclTfError) as error:
        read_checkpoint(tmp_path / "checkpoint.pt")
    assert str(error.value) == "import-pytorch needs PyTorch: pip install 'acl-tf[pytorch]'"


# What `torch.save` is given: from the weights, and from what else is kept with them.
FORMS: dict[str, Callable[[dict, dict], dict]] = {
    "bare": lambda state, aside: state,
    "bare, with what else there is": lambda state, aside: state | aside,
    "wrapped": lambda state, aside: {"state_dict": state},
    "wrapped, with what else there is": lambda state, aside: {"state_dict": state, **aside},
    "DataParallel": lambda state, aside: {f"module.{name}": tensor for name, tensor in state.items()},
    "DataParallel, wrapped": lambda state, aside: {
        "state_dict": {f"module.{name}": tensor for name, tensor in state.items()},
        **aside,
    },
}


@pytest.mark.interop
class TestFiles:
    """Through files that `torch.save` wrote."""

    @pytest.mark.parametrize("form", FORMS)
    def test_forms(self, torch, save, state, form):
        tensors = {name: torch.tensor(array) for name, array in state.items()}
        tensors |= {
            name.replace("running_mean", "num_batches_tracked"): torch.tensor(7)
            for name in state
            if name.endswith("running_mean")
        }
        weight = torch.nn.Parameter(torch.ones(2))
        optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
        weight.sum().backward()
        optimizer.step()
        aside = {"epoch": 1000, "optim": optimizer.state_dict(), "best_acc": 0.5}
        read = read_checkpoint(save(FORMS[form](tensors, aside)))
        assert read.keys() == state.keys()
        for name, array in state.items():
            np.testing.assert_array_equal(read[name], array)

    @pytest.mark.parametrize("name", ["state", "fine_tuned"])
    def test_round_trip(self, torch, save, name, request):
        state = request.getfixturevalue(name)
        read = read_checkpoint(save({n: torch.tensor(a) for n, a in state.items()}))
        from_file, from_arrays = import_state(read), import_state(state)
        for model, expected in zip(from_file, from_arrays):
            assert (model is None) == (expected is None)
            for weight, other in zip(*(m.get_weights() for m in (model, expected)) if model else ()):
                np.testing.assert_array_equal(weight, other)

    @pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
    def test_other_precisions(self, torch, save, state, dtype):
        read = read_checkpoint(save({n: torch.tensor(a).to(getattr(torch, dtype)) for n, a in state.items()}))
        kernel = import_state(read).encoder.standard_graph.get_layer("conv1").kernel
        np.testing.assert_allclose(np.transpose(kernel, (3, 2, 0, 1)), state["conv1.weight"], rtol=1e-2)

    @pytest.mark.parametrize(
        "arch, width", [("resnet10", 0.125), ("resnet18", 0.25), ("resnet34", 0.125), ("resnet50", 0.125)]
    )
    def test_other_networks(self, torch, save, arch, width):
        torch.manual_seed(0)
        peer = load_peer().ContrastiveResNet(arch, width)
        randomize(torch, peer)
        imported = import_state(read_checkpoint(save({"state_dict": peer.state_dict()})))
        assert (imported.encoder.arch, imported.encoder.width) == (arch, width)
        images = torch.rand(4, 3, 32, 32)
        for branch in Branch:
            with torch.no_grad():
                expected = peer.eval().features(images, branch)
                projections = peer.fc(expected, branch)
            features = imported.encoder(images.permute(0, 2, 3, 1).numpy(), branch=branch)
            scale = expected.abs().max().item()
            np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-5 * scale)
            np.testing.assert_allclose(
                imported.projection_head(expected.numpy(), branch=branch), projections, atol=1e-4
            )

    @pytest.mark.parametrize("depth, arch", [(28, "wrn-28-10"), (34, "wrn-34-10")])
    def test_wide_networks(self, torch, save, depth, arch):
        torch.manual_seed(0)
        peer = wide_resnet(torch, depth, planes=(4, 40, 80, 160))
        randomize(torch, peer)
        imported = import_state(read_checkpoint(save(peer.state_dict())))
        assert (imported.encoder.arch, imported.encoder.width) == (arch, 0.25)
        images = torch.rand(2, 3, 32, 32)
        with torch.no_grad():
            expected = peer.eval()(images).numpy()
        logits = imported.classifier(imported.encoder(images.permute(0, 2, 3, 1).numpy(), branch="standard"))
        np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())

    def test_code_in_a_file_is_not_run(self, torch, save, tmp_path):
        victim = tmp_path / "made"
        path = save({"state_dict": {"conv1.weight": MakesFolder(victim)}})
        with pytest.raises(AclTfError, match=r"checkpoint\.pt is not a PyTorch checkpoint of plain weights: "):
            read_checkpoint(path)
        assert not victim.exists()
        torch.load(path, weights_only=False)  # the file does what it should not, if it is let
        assert victim.exists()

    def test_code_in_a_plain_pickle_is_not_run(self, torch, tmp_path):
        victim, path = tmp_path / "made", tmp_path / "checkpoint.pt"
        path.write_bytes(pickle.dumps(MakesFolder(victim), protocol=2))  # torch.save's
        with pytest.raises(AclTfError, match=r"checkpoint\.pt is not a PyTorch checkpoint of plain weights: "):
            read_checkpoint(path)
        assert not victim.exists()

    @pytest.mark.parametrize(
        "content",
        [b"", b"no checkpoint at all", b"PK\x03\x04 half a zip", b"\x80\x02K\x01.", "truncated"],
        ids=["empty", "text", "zip", "pickle", "truncated"],
    )
    def test_not_a_checkpoint(self, torch, tmp_path, content):
        path = tmp_path / "checkpoint.pt"
        if content == "truncated":
            buffer = io.BytesIO()
            torch.save({"conv1.weight": torch.ones(100)}, buffer)
            content = buffer.getvalue()[:-200]
        path.write_bytes(content)
        with pytest.raises(AclTfError) as error:
            read_checkpoint(path)
        assert str(error.value).startswith(f"{path} ")
        assert "\n" not in str(error.value)

    @pytest.mark.parametrize(
        "content, received",
        [
            ("torch.ones(3)", "Tensor"),
            ("[torch.ones(3)]", "list"),
            ("{}", "dict"),
            ("{'epoch': 3}", "dict"),
            ("{'state_dict': torch.ones(3)}", "dict"),
            ("{'state_dict': {}}", "dict"),
            ("{'weight': 3}", "dict"),
            ("{0: torch.ones(3)}", "dict"),
        ],
    )
    def test_no_state_dict(self, torch, save, content, received):
        path = save(eval(content, {"torch": torch}))
        with pytest.raises(AclTfError) as error:
            read_checkpoint(path)
        assert str(error.value) == f"{path} holds no state dict. Received: {received}"

    def test_no_such_file(self, torch, tmp_path):
        with pytest.raises(UsageError) as error:
            read_checkpoint(tmp_path / "none.pt")
        assert str(error.value) == f"No such checkpoint file. Received: '{tmp_path / 'none.pt'}'"


class MakesFolder:
    """Pickled, it makes a folder on being read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.mkdir, (self.path,)


def load_peer() -> types.ModuleType:
    """Imports `benchmarks/pytorch_step.py`, which belongs to no package."""
    spec = importlib.util.spec_from_file_location("pytorch_step", ROOT / "benchmarks" / "pytorch_step.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def randomize(torch: types.ModuleType, model: Any) -> None:
    """Gives batch normalisation parameters and statistics that are not the initial ones."""
    for name, tensor in model.state_dict().items():
        if "bn" in name and tensor.is_floating_point():
            tensor.copy_(torch.rand_like(tensor) + 0.5)


def wide_resnet(torch: types.ModuleType, depth: int, planes: tuple[int, int, int, int]) -> Any:
    """TRADES' WideResNet, with the names of its checkpoints."""
    nn, functional = torch.nn, torch.nn.functional

    def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> Any:
        return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)

    class Block(nn.Module):
        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            self.bn1, self.conv1 = nn.BatchNorm2d(inputs), convolution(inputs, outputs, 3, stride)
            self.bn2, self.conv2 = nn.BatchNorm2d(outputs), convolution(outputs, outputs, 3)
            self.convShortcut = convolution(inputs, outputs, 1, stride) if inputs != outputs else None

        def forward(self, x: Any) -> Any:
            activated = functional.relu(self.bn1(x))
            y = self.conv2(functional.relu(self.bn2(self.conv1(activated))))
            return y + (x if self.convShortcut is None else self.convShortcut(activated))

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.normalize = load_peer().Normalize()
            self.conv1 = convolution(3, planes[0], 3)
            for stage in (1, 2, 3):
                inputs, outputs, stride = planes[stage - 1], planes[stage], 1 if stage == 1 else 2
                blocks = [Block(inputs, outputs, stride)]
                blocks += [Block(outputs, outputs, 1) for _ in range((depth - 4) // 6 - 1)]
                setattr(self, f"block{stage}", nn.ModuleDict({"layer": nn.Sequential(*blocks)}))
            self.bn1, self.fc = nn.BatchNorm2d(planes[3]), nn.Linear(planes[3], 10)

        def forward(self, images: Any) -> Any:
            x = self.conv1(self.normalize(images))
            for block in (self.block1, self.block2, self.block3):
                x = block["layer"](x)
            return self.fc(functional.relu(self.bn1(x)).mean(dim=(2, 3)))

    return Network()
