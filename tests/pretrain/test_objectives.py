import functools
from collections.abc import Callable
from typing import Any
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf

from acl_tf import randomness
from acl_tf.attacks.pgd import PGD
from acl_tf.data.augment import Augmentation
from acl_tf.errors import UsageError
from acl_tf.export.pytorch import ImportedCheckpoint, import_state
from acl_tf.losses.nt_xent import nt_xent
from acl_tf.models.branch import Branch
from acl_tf.models.encoder import Encoder
from acl_tf.models.heads import ProjectionHead
from acl_tf.models.layers import NormFactory
from acl_tf.models.resnet import basic_block, resnet
from acl_tf.pretrain import OBJECTIVES
from acl_tf.pretrain.contrastive import ContrastiveObjective
from acl_tf.pretrain.ds import DS
from acl_tf.pretrain.feature_std import feature_std
from acl_tf.pretrain.passes import Term
from acl_tf.training.lars import LARS

EPSILON, STEP_SIZE = 8 / 255, 2 / 255
BATCH, SIZE = 8, 16
IMAGES = np.random.default_rng(0).integers(0, 256, (2 * BATCH, SIZE, SIZE, 3), np.uint8)
SEED = (3, 14)
# The branches whose statistics a step moves, and the names of its losses.
VARIANTS = {
    "s2s": ({"standard"}, {"loss_standard"}),
    "a2a": ({"adversarial"}, {"loss_adversarial"}),
    "a2s": ({"standard", "adversarial"}, {"loss_adversarial_to_standard"}),
    "ds": ({"standard", "adversarial"}, {"loss_standard", "loss_adversarial"}),
}
ATTACKING = ["a2a", "a2s", "ds"]
MEASURED = {"loss", "attack_loss_before", "attack_loss_after", "feature_std", "gradient_norm"}


def tiny(x: keras.KerasTensor, norm: NormFactory, width: float, stem: str) -> keras.KerasTensor:
    """A residual network of two blocks: most of what a test takes is the time to trace its graph."""
    return resnet(x, norm, basic_block, (1, 1), width, stem)


def build(
    variant: str = "ds", batch_norm: str = "paired", synchronized: bool = False, **kwargs
) -> ContrastiveObjective:
    """A small objective whose weights are the same every time."""
    keras.utils.set_random_seed(0)
    with mock.patch("acl_tf.models.encoder.BACKBONES", {"tiny": tiny}):
        encoder = Encoder(
            "tiny", 0.125, image_shape=(SIZE, SIZE, 3), batch_norm=batch_norm, synchronized=synchronized, name="encoder"
        )
    head = ProjectionHead(encoder.feature_dim, batch_norm=batch_norm, synchronized=synchronized, name="head")
    objective = OBJECTIVES[variant](encoder, head, Augmentation(), PGD(EPSILON, STEP_SIZE, 2), **kwargs)
    objective.compile(optimizer=LARS(0.5))
    objective.optimizer.build(objective.trainable_variables)
    return objective


def views(batch: int = BATCH) -> tuple[tf.Tensor, tf.Tensor]:
    view_i, view_j = np.random.default_rng(1).random((2, batch, SIZE, SIZE, 3)).astype("float32")
    return tf.constant(view_i), tf.constant(view_j)


def weights(objective: ContrastiveObjective) -> dict[str, np.ndarray]:
    """Weights and statistics by path."""
    models = (objective.encoder, objective.projection_head)
    return {f"{model.name}/{v.path}": v.numpy() for model in models for v in model.weights}


def changed(before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> set[str]:
    return {path for path in before if not np.array_equal(before[path], after[path])}


def assert_same(actual: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert actual.keys() == expected.keys()
    assert changed(actual, expected) == set()


def train(objective: ContrastiveObjective, steps: int = 1) -> dict[str, float]:
    """Takes steps, without a graph, on one batch after the other; returns the measurements."""
    for number in range(steps):
        logs = objective.train_step(tf.constant(IMAGES[:BATCH] if number % 2 == 0 else IMAGES[BATCH:]))
    return {name: float(value) for name, value in logs.items()}


class TestPublishedNumbers:
    """Against `parity/acl.npz`, which the authors' code computed."""

    @pytest.fixture
    def imported(self, parity) -> ImportedCheckpoint:
        return self.models(parity, "state/")

    @pytest.fixture
    def objective(self, imported) -> DS:
        objective = DS(imported.encoder, imported.projection_head, Augmentation(), PGD(EPSILON, STEP_SIZE, 5))
        objective.compile(optimizer=LARS(0.5, momentum=0.9, weight_decay=1e-6, trust_coefficient=1e-3))
        return objective

    @staticmethod
    def models(parity: dict[str, np.ndarray], *prefixes: str) -> ImportedCheckpoint:
        state: dict[str, np.ndarray] = {}
        for prefix in ("state/normalize.", *prefixes):
            start = len(prefix) - len("normalize.") if prefix.endswith("normalize.") else len(prefix)
            state |= {name[start:]: array for name, array in parity.items() if name.startswith(prefix)}
        return import_state(state)

    @staticmethod
    def pair(parity: dict[str, np.ndarray], name: str) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.constant(parity[f"{name}_i"]), tf.constant(parity[f"{name}_j"])

    @pytest.mark.parametrize("branch", Branch)
    def test_features_and_projections(self, parity, imported, branch):
        for view in "ij":
            features = imported.encoder(parity[f"view_{view}"], branch=branch)
            projection = imported.projection_head(features, branch=branch)
            np.testing.assert_allclose(features, parity[f"eval/{branch}/features_{view}"], atol=1e-4)
            np.testing.assert_allclose(projection, parity[f"eval/{branch}/projection_{view}"], atol=1e-4)

    @pytest.mark.parametrize("variant", ["a2a", "ds"])
    def test_attack(self, parity, imported, variant, monkeypatch):
        cls = OBJECTIVES[variant]
        objective = cls(imported.encoder, imported.projection_head, Augmentation(), PGD(EPSILON, STEP_SIZE, 5))
        starts = iter(self.pair(parity, "pgd/delta0"))
        monkeypatch.setattr(objective.attack, "start", lambda *_: next(starts))
        found = objective.perturb(self.pair(parity, "view"), tf.constant(SEED))
        difference = np.abs(np.array(found) - np.array(self.pair(parity, "pgd/x_adv")))
        assert np.mean(difference < 1e-6) >= 0.995
        assert difference.max() <= 2 * STEP_SIZE + 1e-6

    def test_gradients(self, parity, monkeypatch):
        """In float64: in float32 rounding decides on which side of its ReLU an input near 0 falls."""
        keras.config.set_dtype_policy("float64")
        imported = self.models(parity, "state/")
        objective = DS(imported.encoder, imported.projection_head, Augmentation(), PGD(EPSILON, STEP_SIZE, 5))
        objective.compile(optimizer="sgd")
        applied: list[tf.Tensor] = []
        monkeypatch.setattr(objective.optimizer, "apply", lambda gradients, _: applied.extend(gradients))
        clean, attacked = (
            tuple(tf.cast(view, tf.float64) for view in self.pair(parity, name)) for name in ("view", "pgd/x_adv")
        )
        objective.train_on_views(clean, attacked)
        # Gradients have the names and the layout of the weights, so they can be imported as such.
        published = self.models(parity, "state/", "ds/step1/grad/")
        variables = published.encoder.trainable_variables + published.projection_head.trainable_variables
        for variable, gradient in zip(variables, applied, strict=True):
            expected = variable.numpy()
            if variable.path == "fc1/bias":  # batch normalisation takes it out again
                np.testing.assert_allclose(gradient, 0, atol=1e-12)
            else:
                difference = np.linalg.norm(gradient - expected)
                assert difference <= 1e-4 * np.linalg.norm(expected), variable.path

    def test_two_steps(self, parity, objective):
        for number in (1, 2):
            objective.reset_metrics()
            objective.train_on_views(self.pair(parity, "view"), self.pair(parity, "pgd/x_adv"))
            logs = objective.get_metrics_result()
            for name in ("loss", "loss_standard", "loss_adversarial"):
                np.testing.assert_allclose(logs[name], parity[f"ds/step{number}/{name}"], rtol=1e-4)
            expected = self.models(parity, f"ds/step{number}/state/")
            self.assert_weights(objective.encoder, expected.encoder)
            self.assert_weights(objective.projection_head, expected.projection_head)

    @staticmethod
    def assert_weights(model: keras.Model, expected: keras.Model) -> None:
        for variable, other in zip(model.weights, expected.weights, strict=True):
            assert variable.path == other.path
            # The true gradient of a bias before batch normalisation is 0. LARS makes a step of length
            # rate · trust · ‖w‖ of the rounding errors that are left, in any direction: only its length can be checked.
            tolerance = 3e-3 if variable.path == "fc1/bias" else 1e-4
            difference = np.linalg.norm(variable.numpy() - other.numpy())
            assert difference <= tolerance * np.linalg.norm(other.numpy()), variable.path


class TestEveryVariant:
    @pytest.mark.parametrize("variant", VARIANTS)
    def test_a_step_moves_the_branches_that_it_contrasts(self, variant):
        branches, losses = VARIANTS[variant]
        objective = build(variant)
        before = weights(objective)
        logs = train(objective)

        def of_a_moved_branch(path: str) -> bool:
            parts = set(path.split("/"))
            return not parts & {str(branch) for branch in Branch} or bool(parts & branches)

        expected = {path for path in before if "normalize" not in path and of_a_moved_branch(path)}
        # A bias that starts at 0 before batch normalisation has no gradient but rounding errors.
        assert changed(before, weights(objective)) | {"head/fc1/bias"} == expected | {"head/fc1/bias"}
        assert int(objective.step) == int(objective.optimizer.iterations) == 1
        attacks = set() if variant == "s2s" else {"attack_loss_before", "attack_loss_after"}
        assert {name for name, value in logs.items() if value > 0} == losses | attacks | MEASURED - {
            "attack_loss_before",
            "attack_loss_after",
        }
        assert all(np.isfinite(value) for value in logs.values())

    @pytest.mark.parametrize("variant", VARIANTS)
    def test_a_single_batch_norm_serves_both_branches(self, variant):
        objective = build(variant, batch_norm="single")
        before = weights(objective)
        logs = train(objective)
        assert np.isfinite(logs["loss"]) and logs["loss"] > 0
        moved = changed(before, weights(objective)) | {"head/fc1/bias"}
        assert moved == {path for path in before if "normalize" not in path}

    @pytest.mark.parametrize("variant", VARIANTS)
    def test_the_default_branch_is_the_one_trained_for_robustness(self, variant):
        objective = build(variant)
        train(objective)
        branch = "standard" if variant == "s2s" else "adversarial"
        assert objective.default_branch == branch
        images, _ = views()
        np.testing.assert_array_equal(objective(images), objective.encoder(images, branch=branch))
        other = "adversarial" if variant == "s2s" else "standard"
        np.testing.assert_array_equal(objective(images, branch=other), objective.encoder(images, branch=other))

    @pytest.mark.parametrize("batch_norm", ["paired", "single"])
    @pytest.mark.parametrize("variant", ATTACKING)
    def test_the_attack_changes_images_only(self, variant, batch_norm):
        objective = build(variant, batch_norm)
        before, optimizer_before = weights(objective), [v.numpy() for v in objective.optimizer.variables]
        clean = views()
        perturbed = objective.perturb(clean, tf.constant(SEED))
        assert_same(weights(objective), before)
        for variable, old in zip(objective.optimizer.variables, optimizer_before):
            np.testing.assert_array_equal(variable.numpy(), old)
        assert int(objective.step) == 0
        for number, (view, attacked) in enumerate(zip(clean, perturbed)):
            if variant == "a2s" and number == 1:
                np.testing.assert_array_equal(attacked, view)
                continue
            difference = np.abs(attacked - view)
            assert difference.max() <= EPSILON + 1e-6
            assert np.mean(difference > EPSILON / 100) > 0.9
            assert np.min(attacked) >= 0 and np.max(attacked) <= 1
        measured = objective.get_metrics_result()
        before_and_after = [float(measured[f"attack_loss_{when}"]) for when in ("before", "after")]
        assert 0 < before_and_after[0] < before_and_after[1]

    def test_s2s_attacks_nothing(self):
        clean = views()
        assert build("s2s").perturb(clean, tf.constant(SEED)) is clean


def test_a2s_attacks_the_first_view_on_the_adversarial_branch_against_the_second_on_the_standard(monkeypatch):
    objective = build("a2s", temperature=0.3)
    for variable in objective.encoder.weights + objective.projection_head.weights:  # branches that differ
        if "/adversarial/" in variable.path:
            variable.assign(variable * np.random.default_rng(2).uniform(0.5, 1.5, variable.shape))
    view_i, view_j = views()
    start = objective.attack.start(view_i.shape, tf.constant(SEED))
    monkeypatch.setattr(objective.attack, "start", lambda *_: start)

    def project(images: tf.Tensor, branch: str) -> tf.Tensor:
        return objective.projection_head(objective.encoder(images, branch=branch), branch=branch)

    expected = view_i + start
    for _ in range(2):
        with tf.GradientTape() as tape:
            tape.watch(expected)
            loss = tf.reduce_sum(
                nt_xent(project(expected, "adversarial"), project(view_j, "standard"), temperature=0.3)
            )
        stepped = expected + STEP_SIZE * tf.sign(tape.gradient(loss, expected))
        expected = tf.clip_by_value(tf.clip_by_value(stepped, view_i - EPSILON, view_i + EPSILON), 0, 1)
    attacked, clean = objective.perturb((view_i, view_j), tf.constant(SEED))
    np.testing.assert_array_equal(clean, view_j)
    assert np.mean(np.abs(attacked - expected) < 1e-6) > 0.995


def terms(variant: str, clean: tuple, perturbed: tuple, **kwargs: Any) -> dict[str, Term]:
    objective = build(variant, **kwargs)
    return objective.terms(*(objective.project(given) for given in objective.passes(clean, perturbed)))


def test_streams_contrast_the_views_that_they_should():
    """Each variant's loss is NT-Xent between the projections of its own views, in training mode."""
    clean = views()
    attacked = tuple(tf.clip_by_value(view + 0.1, 0.0, 1.0) for view in clean)

    def contrast(pair: tuple[tf.Tensor, tf.Tensor], branch: str) -> tf.Tensor:
        objective = build()
        features = objective.encoder(tf.concat(pair, 0), branch=branch, training=True)
        return nt_xent(*tf.split(objective.projection_head(features, branch=branch, training=True), 2), temperature=0.5)

    standard, adversarial = contrast(clean, "standard"), contrast(attacked, "adversarial")
    expected = {
        "s2s": {"standard": standard},
        "a2a": {"adversarial": adversarial},
        "ds": {"standard": standard, "adversarial": adversarial},
    }
    for variant, losses in expected.items():
        actual = terms(variant, clean, attacked)
        assert actual.keys() == losses.keys() == set(OBJECTIVES[variant].terms_logged)
        for name, values in losses.items():
            np.testing.assert_allclose(actual[name].values, values, rtol=1e-6)

    objective = build()
    sides = [
        objective.projection_head(objective.encoder(view, branch=branch, training=True), branch=branch, training=True)
        for view, branch in ((attacked[0], "adversarial"), (clean[1], "standard"))
    ]
    actual = terms("a2s", clean, (attacked[0], clean[1]))
    np.testing.assert_allclose(actual["adversarial_to_standard"].values, nt_xent(*sides), rtol=1e-6)


@pytest.mark.parametrize("alpha, weights", [(0.0, (1.0, 0.0)), (1.0, (0.5, 0.5)), (3.0, (0.25, 0.75))])
def test_alpha_weighs_the_adversarial_stream(alpha, weights):
    found = terms("ds", views(), views(), alpha=alpha)
    assert (found["standard"].weight, found["adversarial"].weight) == weights


def test_the_loss_is_the_weighted_sum_of_the_terms_means(monkeypatch):
    objective = build("ds")
    given = {"one": Term(tf.constant([1.0, 3.0]), 0.25), "other": Term(tf.constant([5.0, 7.0]), tf.constant(2.0))}
    monkeypatch.setattr(objective, "terms", lambda: given)
    loss, values = objective._loss([])
    assert float(loss) == 0.25 * 2 + 2 * 6 and values.keys() == given.keys()


def test_alpha_zero_is_s2s():
    steps = {}
    for name, objective in {"s2s": build("s2s"), "ds": build("ds", alpha=0.0)}.items():
        objective.train_on_views(views(), views())
        logs = objective.get_metrics_result()
        steps[name] = {path: value for path, value in weights(objective).items() if "/adversarial/" not in path}
        steps[name] |= {key: np.array(logs[key]) for key in ("loss", "loss_standard")}
    for name, value in steps["s2s"].items():
        if name != "head/fc1/bias":
            np.testing.assert_allclose(steps["ds"][name], value, rtol=1e-4, atol=1e-5, err_msg=name)


def test_alpha_must_not_be_negative():
    with pytest.raises(ValueError) as error:
        build("ds", alpha=-0.5)
    assert str(error.value) == "`alpha` must be greater than or equal to 0. Received: alpha=-0.5"


def test_temperature_reaches_the_loss():
    clean = views()
    warm, cold = (np.mean(terms("s2s", clean, clean, temperature=t)["standard"].values) for t in (0.5, 0.1))
    assert not np.isclose(warm, cold, rtol=0.01)


def test_training_is_determined_by_the_seed():
    def run(seed: int) -> dict[str, np.ndarray]:
        objective = build("ds", seed=seed)
        train(objective, steps=2)
        return weights(objective)

    first = run(seed=1)
    assert_same(run(seed=1), first)
    assert changed(run(seed=2), first) > {"encoder/conv1/kernel"}


def test_every_step_has_its_own_views_and_attack():
    objective = build("a2a")
    views_of: Callable = functools.partial(objective.views, tf.constant(IMAGES[:BATCH]))
    one, again, other = views_of(tf.constant(SEED)), views_of(tf.constant(SEED)), views_of(tf.constant((3, 15)))
    np.testing.assert_array_equal(one, again)
    assert not np.allclose(one, other) and not np.allclose(one[0], one[1])

    seeds: list[tuple[int, ...]] = []
    original = objective.perturb
    objective.perturb = lambda v, seed: seeds.append(tuple(seed.numpy())) or original(v, seed)
    for _ in range(2):
        objective.train_step(tf.constant(IMAGES[:BATCH]))
    assert len(set(seeds)) == 2


def test_both_views_start_from_perturbations_of_their_own():
    objective = build("ds")
    objective.attack.steps = 0
    view, _ = views()
    attacked_i, attacked_j = objective.perturb((view, view), tf.constant(SEED))
    assert not np.allclose(attacked_i, attacked_j)


@pytest.mark.parametrize("variant", ATTACKING)
def test_a_replica_starts_from_its_rows_of_the_global_perturbation(variant, monkeypatch):
    objective = build(variant)
    objective.attack.steps = 0
    clean = views()
    whole = objective.perturb(clean, tf.constant(SEED))
    monkeypatch.setattr(randomness, "place_in_global_batch", lambda local: (4, BATCH))
    rows = objective.perturb(tuple(view[4:6] for view in clean), tf.constant(SEED))
    for mine, of_all in zip(rows, whole, strict=True):
        np.testing.assert_array_equal(mine, of_all[4:6])


class TestFit:
    @pytest.mark.slow
    def test_equals_the_same_number_of_train_steps(self):
        fitted, manual = build("ds"), build("ds")
        history = fitted.fit(
            tf.data.Dataset.from_tensor_slices(IMAGES).batch(BATCH), epochs=1, shuffle=False, verbose=0
        ).history
        logs = train(manual, steps=2)
        assert set(history) == VARIANTS["ds"][1] | MEASURED
        for name, (value,) in history.items():
            assert value > 0
            np.testing.assert_allclose(value, logs[name], rtol=1e-5)
        for name, value in weights(manual).items():
            np.testing.assert_allclose(weights(fitted)[name], value, rtol=1e-5, atol=1e-6, err_msg=name)

    @pytest.mark.slow
    def test_takes_arrays_labels_and_a_last_batch_that_is_smaller(self):
        objective = build("s2s")
        objective.compile(optimizer="adamw")
        images = IMAGES[: BATCH + 4]
        history = objective.fit(images, np.zeros(len(images)), batch_size=BATCH, shuffle=False, verbose=0).history
        assert np.isfinite(history["loss"][0]) and history["loss"][0] > 0
        assert int(objective.step) == 2


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "float64"])
def test_other_precisions(policy):
    single = build("ds")
    keras.config.set_dtype_policy(policy)
    objective = build("ds")
    objective.set_weights(single.get_weights())
    logs, expected = train(objective), train(single)
    for name in ("loss", "loss_standard", "loss_adversarial"):
        assert logs[name] == pytest.approx(expected[name], rel=0.02)
    assert isinstance(objective.optimizer, keras.optimizers.LossScaleOptimizer) == (policy == "mixed_float16")
    dtype = "float64" if policy == "float64" else "float32"
    for path, value in weights(objective).items():
        assert value.dtype == dtype and np.all(np.isfinite(value)), path


def test_mixed_precision_measures_the_gradient_without_the_loss_scale():
    exact = train(build("s2s"))
    keras.config.set_dtype_policy("mixed_float16")
    objective = build("s2s")
    objective.optimizer.dynamic_scale.assign(64.0)  # the first ones overflow, as they should
    logs = train(objective)
    assert logs["gradient_norm"] == pytest.approx(exact["gradient_norm"], rel=0.2)


@pytest.mark.parametrize(
    "features, expected",
    [
        ([[3.0, 4.0]] * 4, 0.0),  # collapsed
        ([[1.0, 0.0], [0.0, 2.0]], 0.5),
        ([[1.0, 0.0], [-5.0, 0.0]], 0.5),
    ],
)
def test_feature_std(features, expected):
    np.testing.assert_allclose(feature_std(tf.constant(features)), expected, atol=1e-6)


def test_unknown_variant():
    with pytest.raises(UsageError) as error:
        OBJECTIVES["sd"]
    assert str(error.value) == "Unknown variant; did you mean \"ds\"? Known: s2s, a2a, a2s, ds. Received: 'sd'"


@pytest.mark.slow
def test_two_replicas_take_the_step_of_one(run_python):
    """In float64: in float32 the sign of a gradient near 0 may differ."""
    run_python(f"from {__name__} import compare_replicas; compare_replicas()")


def compare_replicas() -> None:
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    keras.config.set_dtype_policy("float64")
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    for variant in VARIANTS:
        single = build(variant)
        with strategy.scope():
            replicated = build(variant, synchronized=True)
        assert_same(weights(replicated), weights(single))
        one, two = tf.function(single.train_step), tf.function(replicated.train_step)
        run = tf.function(lambda images, two=two: strategy.run(two, (images,)))
        for images in (IMAGES[:BATCH], IMAGES[BATCH:]):
            expected = one(tf.constant(images))
            halves = tf.split(tf.constant(images), 2)
            logs = run(
                strategy.experimental_distribute_values_from_function(lambda c, h=halves: h[c.replica_id_in_sync_group])
            )
        for name, value in expected.items():
            actual = np.mean(strategy.experimental_local_results(logs[name]))
            if name != "feature_std":  # of each replica's own rows
                np.testing.assert_allclose(actual, value, rtol=1e-6)
        for path, value in weights(single).items():
            if path != "head/fc1/bias":
                np.testing.assert_allclose(weights(replicated)[path], value, rtol=1e-10, atol=1e-12, err_msg=path)
