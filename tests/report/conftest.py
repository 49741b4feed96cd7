"""A classifier that is real, and the browser."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.report.folders import PGD, record, write_lines


@pytest.fixture(scope="session")
def classifier(tmp_path_factory) -> Path:
    """Returns the model folder of a tiny untrained classifier of digits, which tests must not change."""
    import keras

    from acl_tf.model_folder import write as model_folder
    from acl_tf.model_folder.write import TrainedModel, write_model_folder
    from acl_tf.models.branch import Branch
    from acl_tf.models.encoder import Encoder

    keras.utils.set_random_seed(0)
    encoder = Encoder("resnet10", width=0.0625)
    layer = keras.layers.Dense(10, name="fc")
    layer.build((None, encoder.feature_dim))
    layer.kernel.assign(np.random.default_rng(0).normal(size=layer.kernel.shape))
    path = tmp_path_factory.mktemp("classifier") / "tiny"
    recipe = {"data": {"dataset": "digits"}, "attack": {"epsilon": 0.1}}
    classes = tuple(str(digit) for digit in range(10))
    write_model_folder(path, TrainedModel(encoder, Branch.STANDARD, recipe, classifier=layer, classes=classes))
    write_lines(path / "records.jsonl", [record(value=0.125), record("robust_accuracy", 0.5, {**PGD, "epsilon": 0.2})])
    model_folder.write_manifest(path)
    return path


@pytest.fixture(scope="session")
def encoder(classifier, tmp_path_factory) -> Path:
    """Returns the run folder of an untrained encoder, which tests must not change."""
    from acl_tf.model_folder.read import load_encoder
    from acl_tf.model_folder.write import TrainedModel, write_model_folder
    from acl_tf.models.branch import Branch

    path = tmp_path_factory.mktemp("encoder") / "pretrained"
    recipe = {"data": {"dataset": "digits"}, "attack": {"epsilon": 0.1}}
    path.mkdir()
    (path / "run.json").write_text(json.dumps({"status": "finished"}))
    write_model_folder(path / "model", TrainedModel(load_encoder(classifier), Branch.STANDARD, recipe))
    return path


@pytest.fixture(scope="session")
def chromium() -> str:
    """Returns the browser; without one the test is skipped with a message."""
    names = (os.environ.get("ACL_TF_CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if name and (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium on PATH; ACL_TF_CHROMIUM names one")
    return found
