"""A running TF Serving: the servers of these tests, or the real binary."""

import contextlib
import os
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from acl_tf.export.serving_kit import write_serving_kit
from tests.client.servers import Model, Models, Prediction, Rest, Status, grpc_server, rest_server

BINARY = "TENSORFLOW_MODEL_SERVER"
PATIENCE = 60  # seconds


@dataclass(frozen=True)
class Serving:
    """Where to ask, and how many warm-up requests the newest version of a model has read."""

    rest: str
    grpc: str
    warmed_up: Callable[[str], int]


@contextlib.contextmanager
def own_servers(base_paths: Mapping[str, Path]) -> Iterator[Serving]:
    models = Models({name: Model(name, path) for name, path in base_paths.items()})
    handler = type("Handler", (Rest,), {"models": models})
    with rest_server(handler) as rest, grpc_server(Prediction(models), Status(models)) as rpc:
        yield Serving(f"http://{rest}", f"grpc://{rpc}", lambda name: models.find(name, None)[1].warmed_up)


@contextlib.contextmanager
def tensorflow_model_server(base_paths: Mapping[str, Path]) -> Iterator[Serving]:
    binary = os.environ.get(BINARY)
    if not binary:
        pytest.skip(f"{BINARY} names no tensorflow_model_server")
    folder = next(iter(base_paths.values())).parent
    config = folder / "all_models.config"
    entries = [
        f'config {{ name: "{name}" base_path: "{path}" model_platform: "tensorflow" }}'
        for name, path in base_paths.items()
    ]
    config.write_text(f"model_config_list {{\n{' '.join(entries)}}}\n")
    rpc, rest = free_port(), free_port()
    command = [binary, f"--port={rpc}", f"--rest_api_port={rest}", f"--model_config_file={config}"]
    command += ["--file_system_poll_wait_seconds=1", *flags_of_the_kit(folder / "kit")]
    log = folder / "server.log"

    def warmed_up(name: str) -> int:
        line = rf"warmup data for model at {re.escape(str(base_paths[name]))}/\d+.*read: (\d+)"
        found = re.findall(line, log.read_text())
        return int(found[-1]) if found else 0

    with log.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT) as process:
        try:
            for name in base_paths:
                wait_until(lambda name=name: answers(f"http://127.0.0.1:{rest}/v1/models/{name}/metadata"))
            yield Serving(f"http://127.0.0.1:{rest}", f"grpc://127.0.0.1:{rpc}", warmed_up)
        finally:
            process.terminate()


def flags_of_the_kit(folder: Path) -> list[str]:
    """Returns the flags of a serving kit, but for those that name the files of its one model."""
    write_serving_kit(folder, "any", "encoder", (8, 8, 3), None)
    (service,) = yaml.safe_load((folder / "docker-compose.yml").read_text())["services"].values()
    return [flag for flag in service["command"] if not flag.startswith("--model_config_file")]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def wait_until(condition: Callable[[], bool]) -> None:
    """Waits for a condition: a real server looks for versions once a second."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            pytest.fail(f"not within {PATIENCE} s")
        time.sleep(0.2)
