"""What the original AutoAttack leaves robust of a small adversarially trained network, and what this one does."""

import functools

import keras
import numpy as np
import pytest

from acl_tf.attacks.autoattack.suite import VERSIONS, AutoAttack
from acl_tf.export.pytorch import import_state
from acl_tf.models.batch_norm_folding import fold_batch_norm
from acl_tf.models.paired_model import extract_branch

ATTACKS = ("apgd-ce", "apgd-t", "fab-t", "square")


@pytest.fixture(scope="module")
def model(autoattack_parity) -> keras.Model:
    imported = import_state({name[6:]: array for name, array in autoattack_parity.items() if name.startswith("state/")})
    inputs = keras.Input((32, 32, 3))
    return keras.Model(inputs, imported.classifier(extract_branch(imported.encoder, "standard")(inputs)))


def attack(model: keras.Model, seed: int, *names: str) -> AutoAttack:
    attack = AutoAttack(
        functools.partial(model, training=False),
        epsilon=8 / 255,
        seed=seed,
        crafted_on=functools.partial(fold_batch_norm(model), training=False),
    )
    attack.components = {name: VERSIONS["standard"][name] for name in names}
    return attack


def images_of(parity: dict[str, np.ndarray]) -> np.ndarray:
    return parity["images"].astype(np.float32) / np.float32(255)


def test_logits(autoattack_parity, model):
    images = images_of(autoattack_parity)
    np.testing.assert_allclose(model(images, training=False), autoattack_parity["logits"], atol=1e-4)
    np.testing.assert_allclose(fold_batch_norm(model)(images, training=False), autoattack_parity["logits"], atol=1e-4)


def test_apgd_ce_on_some_images(autoattack_parity, model):
    expected = autoattack_parity["seed0/apgd-ce/robust"][:60]
    result = attack(model, 0, "apgd-ce").run(images_of(autoattack_parity)[:60], autoattack_parity["labels"][:60])
    assert result.survivors["clean"] == autoattack_parity["correct"][:60].sum()
    assert abs(int(result.robust.sum()) - int(expected.sum())) <= 2
    assert result.warnings == ()


@pytest.mark.slow
@pytest.mark.parametrize("name, seed", [*((name, 0) for name in ATTACKS), ("apgd-ce", 1), ("apgd-ce", 2)])
def test_each_attack_leaves_as_many_images_as_the_original(autoattack_parity, model, name, seed):
    """Within one point: two images."""
    result = attack(model, seed, name).run(images_of(autoattack_parity), autoattack_parity["labels"])
    assert abs(int(result.robust.sum()) - int(autoattack_parity[f"seed0/{name}/robust"].sum())) <= 2


@pytest.mark.slow
def test_all_attacks_leave_as_many_images_as_the_original(autoattack_parity, model):
    """Within half a point: one image."""
    result = attack(model, 1, *ATTACKS).run(images_of(autoattack_parity), autoattack_parity["labels"])
    assert abs(int(result.robust.sum()) - int(autoattack_parity["standard/robust"].sum())) <= 1
