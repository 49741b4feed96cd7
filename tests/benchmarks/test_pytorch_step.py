"""The PyTorch peer of the benchmarks computes what the published code computes."""

import importlib.util
import pathlib
import types
from collections.abc import Callable

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the PyTorch peer needs torch")
pytestmark = pytest.mark.interop

ROOT = pathlib.Path(__file__).resolve().parents[2]
WIDTH = 0.125  # parity's model has 8, 16, 32 and 64 channels
VARIANTS = ("AuthorsStep", "LeanStep")
# A bias before batch normalisation has no gradient but rounding errors, which LARS scales up to the weight's own size:
# two steps move it by up to 1.5e-3 of its norm in any direction, and the mean that follows it as well.
UNDETERMINED = ("fc.fc1.bias", "fc.bn1.bn_list.0.running_mean", "fc.bn1.bn_list.1.running_mean")


def load_benchmark() -> types.ModuleType:
    """Imports `benchmarks/pytorch_step.py`, which belongs to no package."""
    spec = importlib.util.spec_from_file_location("pytorch_step", ROOT / "benchmarks" / "pytorch_step.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


peer = load_benchmark()


@pytest.fixture
def build(parity) -> Callable:
    """Makes a step by the name of its class, with parity's weights."""

    def build_step(variant: str):
        step = getattr(peer, variant)(width=WIDTH, learning_rate=0.5)
        step.model.load_state_dict(tensors(parity, "state/"), strict=True)
        return step

    return build_step


def tensors(parity: dict[str, np.ndarray], prefix: str) -> dict:
    """The arrays below `prefix`; PyTorch itself adds the `num_batches_tracked` that they lack."""
    return {key.removeprefix(prefix): torch.tensor(a) for key, a in parity.items() if key.startswith(prefix)}


def pair(parity: dict[str, np.ndarray], prefix: str):
    """Both views of `prefix` as one NCHW batch."""
    images = np.concatenate([parity[f"{prefix}_i"], parity[f"{prefix}_j"]])
    return torch.tensor(images).permute(0, 3, 1, 2).contiguous()


def assert_same_weights(actual: dict, expected: dict) -> None:
    """Every array of `expected` within 1e-4, but for those that rounding decides."""
    for name, value in expected.items():
        atol = 3e-3 * value.norm().item() if name in UNDETERMINED else 1e-5
        np.testing.assert_allclose(actual[name], value, rtol=1e-4, atol=atol, err_msg=name)


@pytest.mark.parametrize("branch", peer.BRANCHES)
def test_network_in_inference_mode(parity, build, branch):
    model = build("LeanStep").model.eval()
    with torch.no_grad():
        features = model.features(pair(parity, "view"), branch)
        projection = model.fc(features, branch)
    for name, values in (("features", features), ("projection", projection)):
        expected = np.concatenate([parity[f"eval/{branch}/{name}_{view}"] for view in "ij"])
        np.testing.assert_allclose(values.numpy(), expected, rtol=1e-4, atol=1e-4)


def test_nt_xent(parity):
    projections = torch.tensor(np.concatenate([parity["nt_xent/z_i"], parity["nt_xent/z_j"]])).requires_grad_()
    loss = peer.nt_xent(projections)
    (gradient,) = torch.autograd.grad(loss, projections)
    expected = np.concatenate([parity["nt_xent/grad_i"], parity["nt_xent/grad_j"]])
    np.testing.assert_allclose(loss.item(), parity["nt_xent/loss"], rtol=1e-5)
    np.testing.assert_allclose(gradient.numpy(), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("variant", VARIANTS)
def test_attack(parity, build, variant):
    step = build(variant)
    adversarial = step.attack(pair(parity, "view"), pair(parity, "pgd/delta0"))
    difference = (adversarial - pair(parity, "pgd/x_adv")).abs()
    assert (difference < 1e-5).float().mean() > 0.995
    assert difference.max() < 2 * peer.STEP_SIZE + 1e-5
    for name, value in tensors(parity, "state/").items():
        assert torch.equal(step.model.state_dict()[name], value), name


@pytest.mark.parametrize("variant", VARIANTS)
def test_two_updates(parity, build, variant):
    step = build(variant)
    images, adversarial = pair(parity, "view"), pair(parity, "pgd/x_adv")
    for number in (1, 2):
        losses = step.update(images, adversarial)
        for name, loss in zip(peer.BRANCHES, losses):
            np.testing.assert_allclose(loss.item(), parity[f"ds/step{number}/loss_{name}"], rtol=1e-4)
        np.testing.assert_allclose(sum(losses).item() / 2, parity[f"ds/step{number}/loss"], rtol=1e-4)
        assert_same_weights(step.model.state_dict(), tensors(parity, f"ds/step{number}/state/"))


def test_variants_take_the_same_step(parity, build):
    view_i, view_j = pair(parity, "view").chunk(2)
    losses, weights = [], []
    for variant in VARIANTS:
        step = build(variant)
        torch.manual_seed(0)
        losses.append(step.step(view_i, view_j))
        weights.append(step.model.state_dict())
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert_same_weights(weights[0], weights[1])


@pytest.mark.parametrize("arch", peer.ARCHITECTURES)
def test_every_architecture_learns(arch):
    torch.manual_seed(0)
    step = peer.LeanStep(arch=arch, width=WIDTH, steps=1)
    before = {name: weight.clone() for name, weight in step.model.named_parameters()}
    assert np.isfinite(step.step(torch.rand(4, 3, 32, 32), torch.rand(4, 3, 32, 32)))
    for name, weight in step.model.named_parameters():
        assert weight.isfinite().all() and not torch.equal(weight, before[name]), name
