"""The test Hub, and the real client of huggingface_hub pointed at it, in this process or by its environment."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub.constants as constants
import huggingface_hub.file_download
import huggingface_hub.hf_api
import huggingface_hub.utils._http as http
import pytest

from acl_tf.errors import AclTfError, HubError
from tests.hub.hub_server import Hub
from tests.report.folders import record, robust


def complaint(call: Callable, *arguments: Any, error: type[AclTfError] = HubError, **options: Any) -> str:
    """Returns the one line that a call fails with."""
    with pytest.raises(AclTfError) as raised:
        call(*arguments, **options)
    assert type(raised.value) is error
    assert "\n" not in str(raised.value)
    return str(raised.value)


def environment(hub: Hub, home: Path) -> dict[str, str]:
    """Returns the environment variables that a user of this Hub would set."""
    return {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_TOKEN": "hf_alice",
    }


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Iterator[Hub]:
    """A Hub where the client of this process is alice; its retries do not wait.

    huggingface_hub reads the environment at its first import, hence the constants; the token it reads at each call.
    """
    with Hub() as hub:
        home = tmp_path / "hf_home"
        for name in [name for name in os.environ if name.startswith(("HF_", "HUGGING"))]:
            monkeypatch.delenv(name)
        for name, value in environment(hub, home).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(huggingface_hub.hf_api.api, "endpoint", hub.url)  # of the functions at the top level
        monkeypatch.setattr(constants, "HF_HOME", str(home))
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
        monkeypatch.setattr(constants, "HUGGINGFACE_HUB_CACHE", str(home / "hub"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
        monkeypatch.setattr(constants, "HF_STORED_TOKENS_PATH", str(home / "stored_tokens"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
        impatient = SimpleNamespace(sleep=lambda seconds: time.sleep(0.001), time=time.time)
        monkeypatch.setattr(http, "time", impatient)
        monkeypatch.setattr(huggingface_hub.file_download, "time", impatient)
        monkeypatch.setattr("acl_tf.hub.patience.time", impatient)
        huggingface_hub.utils.disable_progress_bars()
        http.close_session()
        yield hub
        http.close_session()
        huggingface_hub.utils.enable_progress_bars()


@pytest.fixture
def log_in(monkeypatch):
    """Changes who the client is, by token; None is nobody."""

    def log_in(token: str | None) -> None:
        if token is None:
            monkeypatch.delenv("HF_TOKEN")
        else:
            monkeypatch.setenv("HF_TOKEN", token)

    return log_in


@pytest.fixture
def go_offline(monkeypatch):
    """Sets HF_HUB_OFFLINE=1, as the client of this process reads it."""

    def go_offline() -> None:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    return go_offline


@pytest.fixture(scope="session")
def written_model(tmp_path_factory) -> Path:
    """Returns the model folder of an encoder, with two records, which tests must not change."""
    from acl_tf.model_folder.write import TrainedModel, write_model_folder
    from acl_tf.models.branch import Branch
    from acl_tf.models.encoder import Encoder

    folder = tmp_path_factory.mktemp("written") / "model"
    encoder = Encoder("resnet10", width=0.0625, image_shape=(16, 16, 3))
    recipe = {"objective": {"variant": "ds"}, "training": {"seed": 3}}
    write_model_folder(folder, TrainedModel(encoder, Branch.ADVERSARIAL, recipe), [record(value=0.8125), robust(0.451)])
    return folder


@pytest.fixture
def model_folder(written_model, tmp_path) -> Path:
    """Returns a copy of the written model, which a test may change."""
    return shutil.copytree(written_model, tmp_path / "run" / "model")
