"""docs/distributed.md: what can be run without a cluster is run, the rest is parsed."""

import json
import os
import re
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from acl_tf.cli import COMMANDS
from acl_tf.config import recipe_names

TEXT = (Path(__file__).parents[2] / "docs/distributed.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def cluster() -> dict[str, dict]:
    """The Kubernetes resources by kind."""
    (manifest,) = blocks("yaml")
    return {resource["kind"]: resource for resource in yaml.safe_load_all(manifest)}


@pytest.fixture
def acl_tf_says(tmp_path, monkeypatch) -> None:
    """Puts a program in the way of acl-tf that prints its cluster and its arguments."""
    program = tmp_path / "acl-tf"
    program.write_text('#!/bin/sh\necho "$TF_CONFIG"\necho "$@"\nexit ${CODE:-0}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


@pytest.mark.parametrize("script", blocks("sh"))
def test_shell(script):
    done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_commands_and_recipes():
    for command, arguments in re.findall(r"acl-tf ([a-z-]+)((?: [^`\n#]*)?)", "".join(blocks("sh"))):
        assert command in COMMANDS
        for recipe in re.findall(r"--config (\S+)", arguments):
            assert recipe in recipe_names("pretrain")


def test_hosts_by_hand(acl_tf_says):
    hosts = [script for script in blocks("sh") if "TF_CONFIG=" in script]
    said = [subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True) for script in hosts]
    (one, command), (two, same) = (done.stdout.splitlines() for done in said)
    assert command == same
    assert json.loads(one)["cluster"] == json.loads(two)["cluster"]
    assert [json.loads(each)["task"]["index"] for each in (one, two)] == [0, 1]


@pytest.mark.parametrize("code, attempts", [(0, 1), (2, 1), (143, 1), (1, 3), (137, 3)])
def test_slurm(code, attempts, acl_tf_says, tmp_path, monkeypatch):
    """Which exit codes make the script try again."""
    (script,) = (script for script in blocks("sh") if "#SBATCH" in script)
    (tmp_path / "srun").write_text('#!/bin/sh\nshift\nexec "$@"\n')
    (tmp_path / "srun").chmod(0o755)
    monkeypatch.setenv("CODE", str(code))
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert done.stdout.count("pretrain --config acl_ds_cifar10 --output runs/ds --resume\n") == attempts


def test_kubernetes_schema(cluster):
    for resource in cluster.values():
        kubernetes_validate.validate(resource, "1.30", strict=True)
        kubernetes_validate.validate(resource, kubernetes_validate.latest_version(), strict=True)
    assert list(cluster) == ["Service", "Job"]
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**cluster["Job"], "specs": {}}, "1.30", strict=True)


def test_kubernetes_names(cluster):
    service, job = cluster["Service"], cluster["Job"]
    pod = job["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    assert pod["spec"]["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    assert service["spec"]["clusterIP"] == "None"
    assert {volume["name"] for volume in pod["spec"]["volumes"]} == {each["name"] for each in container["volumeMounts"]}
    (rule, _) = job["spec"]["podFailurePolicy"]["rules"]
    assert rule["onExitCodes"]["containerName"] == container["name"]


@pytest.mark.parametrize("index", [0, 1])
def test_kubernetes_command(cluster, index, acl_tf_says, monkeypatch):
    job, port = cluster["Job"], cluster["Service"]["spec"]["ports"][0]["port"]
    monkeypatch.setenv("JOB_COMPLETION_INDEX", str(index))
    (container,) = job["spec"]["template"]["spec"]["containers"]
    said = subprocess.run(container["command"], capture_output=True, text=True, check=True).stdout
    config, command = said.strip().rsplit("\n", 1)
    # Pods of an Indexed Job are called NAME-INDEX; their domain is the Service.
    name, domain = job["metadata"]["name"], cluster["Service"]["metadata"]["name"]
    workers = [f"{name}-{number}.{domain}:{port}" for number in range(job["spec"]["completions"])]
    assert json.loads(config) == {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
    assert command.split()[0] == "pretrain" and command.split()[-1] == "--resume"
    assert job["spec"]["parallelism"] == job["spec"]["completions"]
    assert container["ports"] == [{"containerPort": port}]
