"""Tiny models, each exported once."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def encoder():
    from tests.export import tiny

    return tiny.encoder()


@pytest.fixture(scope="session")
def classifier():
    from tests.export import tiny

    return tiny.classifier()


@pytest.fixture(scope="session")
def saved_encoder(encoder, tmp_path_factory) -> Path:
    """Returns a SavedModel, which tests must not change."""
    from acl_tf.export.saved_model import export_saved_model

    path = tmp_path_factory.mktemp("saved") / "encoder"
    export_saved_model(encoder, path, "encoder")
    return path


@pytest.fixture(scope="session")
def saved_classifier(classifier, tmp_path_factory) -> Path:
    from acl_tf.export.saved_model import export_saved_model

    path = tmp_path_factory.mktemp("saved") / "classifier"
    export_saved_model(classifier, path, "classifier")
    return path


@pytest.fixture(scope="session")
def saved_trainable(classifier, tmp_path_factory) -> Path:
    from acl_tf.export.saved_model import export_trainable_saved_model

    path = tmp_path_factory.mktemp("saved") / "trainable"
    export_trainable_saved_model(classifier, path, "classifier")
    return path
