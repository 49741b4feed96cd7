"""The serving kit: every file parsed, held against its schema, and the clients run."""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2

from acl_tf.errors import UsageError
from acl_tf.export.serving_kit import BATCHING, FILES, IMAGE, resource_name, write_serving_kit

NAME = "Cifar_10.robust"
FOLDER = f"/models/{NAME}"
METADATA = f"/v1/models/{NAME}/metadata"


@pytest.fixture(scope="module")
def kit(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kit")
    write_serving_kit(folder, NAME, "classifier", (32, 32, 3), ("ape", "Käuzchen", "dog"))
    return folder


@pytest.fixture(scope="module")
def batching_kit(tmp_path_factory):
    folder = tmp_path_factory.mktemp("batching_kit")
    write_serving_kit(folder, NAME, "classifier", (32, 32, 3), None, batching=True)
    return folder


@pytest.fixture(scope="module", params=["kit", "batching_kit"])
def either_kit(request) -> Path:
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def compose(either_kit) -> dict:
    return yaml.safe_load((either_kit / "docker-compose.yml").read_text())


@pytest.fixture(scope="module")
def cluster(either_kit) -> dict[str, dict]:
    """The Kubernetes resources by kind."""
    return {resource["kind"]: resource for resource in yaml.safe_load_all((either_kit / "kubernetes.yaml").read_text())}


def test_files(kit):
    written = {str(path.relative_to(kit)) for path in kit.rglob("*") if path.is_file()}
    assert written == {*FILES, "classes.txt"}
    assert (kit / "classes.txt").read_text(encoding="utf-8") == "ape\nKäuzchen\ndog\n"


def test_without_classes_the_file_of_another_model_goes(tmp_path):
    write_serving_kit(tmp_path, NAME, "classifier", (32, 32, 3), ("ape", "cat"), batching=True)
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix == ".txt") == [BATCHING, "classes.txt"]
    write_serving_kit(tmp_path, NAME, "encoder", (32, 32, 3), None)
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix == ".txt") == []
    assert not {"classes.txt", BATCHING} & set(re.findall(r"[\w.]+", (tmp_path / "README.md").read_text()))


def test_models_config(kit):
    from tensorflow_serving.config import model_server_config_pb2

    config = text_format.Parse((kit / "models.config").read_text(), model_server_config_pb2.ModelServerConfig())
    (model,) = config.model_config_list.config
    assert (model.name, model.base_path, model.model_platform) == (NAME, FOLDER, "tensorflow")
    assert model.model_version_policy.latest.num_versions == 1


def test_the_way_back_that_models_config_names(kit):
    from tensorflow_serving.config import model_server_config_pb2

    text = (kit / "models.config").read_text()
    (policy,) = re.findall(r"specific \{.*\}", text)
    text = text.replace("latest { num_versions: 1 }", policy)
    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    assert list(config.model_config_list.config[0].model_version_policy.specific.versions) == [1]


def batching_parameters() -> type:
    """TF Serving's message of that name, which tensorflow-serving-api leaves out; session_bundle_config.proto."""
    names = ("max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads")
    file = descriptor_pb2.FileDescriptorProto(name="batching.proto", syntax="proto3")
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    message = file.message_type.add(name="BatchingParameters")
    for number, name in enumerate(names, start=1):
        message.field.add(name=name, number=number, type=11, label=1, type_name=".google.protobuf.Int64Value")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(descriptor_pb2.FileDescriptorProto.FromString(wrappers_pb2.DESCRIPTOR.serialized_pb))
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("BatchingParameters"))


def test_batching_parameters(batching_kit):
    from acl_tf.client.images import BATCH_SIZE

    parameters = text_format.Parse((batching_kit / "batching_parameters.txt").read_text(), batching_parameters()())
    assert parameters.max_batch_size.value >= BATCH_SIZE  # a larger request is refused
    assert parameters.num_batch_threads.value and parameters.max_enqueued_batches.value
    assert 0 < parameters.batch_timeout_micros.value < 10_000


# Docker Compose


def test_compose_schema(compose):
    schema = json.loads(
        resources.files("check_jsonschema").joinpath("builtin_schemas/vendor/compose-spec.json").read_text()
    )
    jsonschema.validate(compose, schema)
    spoiled = {"services": {"serving": {**compose["services"]["serving"], "portz": []}}}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(spoiled, schema)


def flags_of(command: list[str]) -> dict[str, str]:
    return dict(flag.split("=") for flag in command)


def test_both_start_the_server_with_the_same_flags(compose, cluster):
    """More threads than 4 for each core, the default; no waiting behind a version that cannot be loaded."""
    (service,) = compose["services"].values()
    (container,) = cluster["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert flags_of(service["command"]).keys() == flags_of(container["args"]).keys()
    for flags in (flags_of(service["command"]), flags_of(container["args"])):
        assert int(flags["--grpc_max_threads"]) >= 64 and int(flags["--rest_api_num_threads"]) >= 64
        assert flags["--max_num_load_retries"] == "0"


def test_compose(compose, either_kit):
    (service,) = compose["services"].values()
    assert service["image"] == IMAGE and re.fullmatch(r"tensorflow/serving:\d+\.\d+\.\d+", IMAGE)
    assert service["ports"] == ["127.0.0.1:8500:8500", "127.0.0.1:8501:8501"]
    (volume,) = service["volumes"]
    assert volume == {"type": "bind", "source": ".", "target": FOLDER, "read_only": True}
    flags = flags_of(service["command"])
    named = [flags[flag] for flag in ("--model_config_file", "--batching_parameters_file") if flag in flags]
    assert all((either_kit / Path(file).relative_to(FOLDER)).is_file() for file in named)
    assert (flags.get("--enable_batching") == "true") == (len(named) == 2) == (either_kit / BATCHING).exists()


@pytest.mark.parametrize("answer, healthy", [("200 OK", True), ("404 Not Found", False), (None, False)])
def test_the_health_check_of_compose(compose, answer, healthy):
    """The command itself, against a server that answers so, and against none."""
    from tests.client.servers import Rest, rest_server

    class Handler(Rest):
        def do_GET(self) -> None:
            assert self.path == METADATA
            self.wfile.write(f"HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n".encode())

    program, *arguments, command = compose["services"]["serving"]["healthcheck"]["test"][1:]
    with rest_server(Handler) as host:
        port = host.split(":")[1] if answer else "1"
        command = command.replace("$$", "$").replace("/8501", f"/{port}")
        done = subprocess.run([program, *arguments, command], capture_output=True, timeout=30, check=False)
    assert (done.returncode == 0) == healthy


# Kubernetes


def test_kubernetes_schema(cluster):
    for resource in cluster.values():
        kubernetes_validate.validate(resource, "1.30", strict=True)
        kubernetes_validate.validate(resource, kubernetes_validate.latest_version(), strict=True)
    assert list(cluster) == ["PersistentVolumeClaim", "ConfigMap", "Deployment", "Service"]
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**cluster["Service"], "spec": {"ports": "8501"}}, "1.30", strict=True)


def test_a_pod_is_ready_once_a_version_can_answer(cluster):
    (container,) = cluster["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert container["readinessProbe"]["httpGet"] == {"path": METADATA, "port": "rest"}
    # A version that fails is no reason to restart the server: its status answers 200. No thread that answers is one.
    assert container["livenessProbe"]["httpGet"] == {"path": f"/v1/models/{NAME}", "port": "rest"}
    assert container["image"] == IMAGE
    assert container["securityContext"]["readOnlyRootFilesystem"] is True


def test_the_resources_fit_together(cluster, either_kit):
    assert {resource["metadata"]["name"] for resource in cluster.values()} == {"serving-cifar-10-robust"}
    deployment, service = cluster["Deployment"]["spec"], cluster["Service"]["spec"]
    pod = deployment["template"]
    assert deployment["selector"]["matchLabels"] == service["selector"] == pod["metadata"]["labels"]
    (container,) = pod["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"grpc": 8500, "rest": 8501} == {port["targetPort"]: port["port"] for port in service["ports"]}
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts.keys() == {volume["name"] for volume in pod["spec"]["volumes"]}
    assert mounts["models"] == FOLDER
    flags = flags_of(container["args"])
    data = cluster["ConfigMap"]["data"]
    for flag in {"--model_config_file", "--batching_parameters_file"} & flags.keys():
        name = str(Path(flags[flag]).relative_to(mounts["configuration"]))
        assert data[name] == (either_kit / name).read_text()
    assert len(data) == len({"--model_config_file", "--batching_parameters_file"} & flags.keys())


def test_the_loader_of_the_readme(either_kit, cluster):
    overrides = re.search(r"--overrides='(.*?)'", (either_kit / "README.md").read_text(), re.DOTALL)
    name = cluster["PersistentVolumeClaim"]["metadata"]["name"]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"{name}-loader"}, **json.loads(overrides[1])}
    kubernetes_validate.validate(pod, "1.30", strict=True)
    assert pod["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] == name
    assert pod["spec"]["securityContext"]["runAsNonRoot"] is True


# Names


@pytest.mark.parametrize("name", ["on", "123", "1e3", "null", "a", "x" * 50, "A.b_C-d"])
def test_names_that_look_like_something_else(tmp_path, name):
    from tensorflow_serving.config import model_server_config_pb2

    write_serving_kit(tmp_path, name, "encoder", (8, 8, 3), None)
    config = text_format.Parse((tmp_path / "models.config").read_text(), model_server_config_pb2.ModelServerConfig())
    assert config.model_config_list.config[0].name == name
    for resource in yaml.safe_load_all((tmp_path / "kubernetes.yaml").read_text()):
        kubernetes_validate.validate(resource, "1.30", strict=True)
        assert re.fullmatch("[a-z]([a-z0-9-]{0,61}[a-z0-9])", resource["metadata"]["name"])
    service = yaml.safe_load((tmp_path / "docker-compose.yml").read_text())["services"]["serving"]
    assert service["volumes"][0]["target"] == f"/models/{name}"


@pytest.mark.parametrize("name", ["", "a b", 'a"b', "a/b", "..", "-a", "a.", "ä", "$(id)", "a\n", "x" * 51])
def test_names_that_need_quotes(tmp_path, name):
    with pytest.raises(UsageError) as error:
        write_serving_kit(tmp_path, name, "encoder", (8, 8, 3), None)
    assert str(error.value) == (
        "The name of a served model has at most 50 letters (A–Z), digits, dots, hyphens and underscores, and "
        f"begins and ends with a letter or digit; choose one by --name. Received: {name!r}"
    )
    assert list(tmp_path.iterdir()) == []


def test_resource_name():
    assert resource_name("My_Model..1") == "serving-my-model-1"


@pytest.mark.parametrize("label", ["", "two\nlines", "two\x0blines"])
def test_a_class_that_is_no_line(tmp_path, label):
    with pytest.raises(UsageError) as error:
        write_serving_kit(tmp_path, NAME, "classifier", (8, 8, 3), ("ape", label))
    assert str(error.value) == (f"classes.txt has a line for each class, so names are one line. Received: {label!r}")
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_the_old_file(kit, tmp_path, monkeypatch):
    shutil.copytree(kit, tmp_path / "kit")
    monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        write_serving_kit(tmp_path / "kit", "other", "encoder", (8, 8, 3), None)
    assert NAME in (tmp_path / "kit" / "models.config").read_text()
    assert {path.name for path in (tmp_path / "kit").iterdir()} == {path.name for path in kit.iterdir()}


# The examples, as a user has them; tests/client/test_examples.py runs them against servers


@pytest.mark.parametrize("kind", ["classifier", "encoder"])
def test_the_examples_are_tidy(tmp_path, kind):
    write_serving_kit(tmp_path, NAME, kind, (8, 8, 3), None)
    ruff = shutil.which("ruff", path=str(Path(sys.executable).parent)) or shutil.which("ruff")
    if ruff is None:
        pytest.skip("ruff is not installed; the dev extra brings it")
    clients = tmp_path / "clients"
    for command in (["check", "--select", "E,F,W,I,UP,D"], ["format", "--check"]):
        options = ["--isolated", "--line-length", "120", "--no-cache"]
        options += ["--config", "lint.pydocstyle.convention='google'"] if command[0] == "check" else []
        done = subprocess.run([ruff, *command, *options, clients], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "acl_tf" not in "".join(path.read_text() for path in clients.iterdir())


def test_curl_sh_is_portable(kit):
    assert subprocess.run(["sh", "-n", kit / "clients" / "curl.sh"], check=False).returncode == 0
