"""`acl-tf push`."""

import json
import os
import subprocess
import sys

import pytest

from acl_tf.cli import run
from acl_tf.model_folder.write import add_to_model_folder
from tests.hub.conftest import environment
from tests.report.folders import robust


@pytest.mark.parametrize("tag", ["bad tag", "main", "v..1", "-v1", "v1/", "ünï", "v1.lock"])
def test_a_tag_that_git_would_not_take(fail, model_folder, tag):
    code, line = fail("push", model_folder, "alice/model", f"--tag={tag}")
    assert (code, line) == (
        2,
        f"acl-tf: error: A tag is of letters, digits, '.', '-', '_' and '/', such as v1. Received: {tag!r}",
    )


def test_push_prints_the_commit(hub, model_folder, capsys):
    code = run(["push", str(model_folder), "alice/model", "--private", "--tag", "v1", "--message", "As in the paper"])
    out, err = capsys.readouterr()
    repository = hub.repositories["alice/model"]
    assert code == 0, err
    assert out == f"{hub.url}/alice/model/commit/{repository.head.sha}\n"
    assert repository.private and repository.tags == {"v1": repository.head.sha}
    assert repository.head.message == "As in the paper"


def test_a_run_folder_will_do(hub, model_folder, capsys):
    assert run(["push", str(model_folder.parent), "alice/model"]) == 0
    assert "model.keras" in hub.repositories["alice/model"].head.files


def test_the_same_again(hub, model_folder, capsys):
    assert run(["push", str(model_folder), "alice/model"]) == 0
    first = capsys.readouterr().out
    assert run(["push", str(model_folder), "alice/model"]) == 0
    out, err = capsys.readouterr()
    assert out == first
    assert "acl-tf: alice/model has all of it already; nothing was uploaded\n" in err
    assert len(hub.log("/commit/")) == 1


def test_somebody_was_faster(hub, model_folder, capsys, fail):
    assert run(["push", str(model_folder), "alice/model"]) == 0
    capsys.readouterr()
    add_to_model_folder(model_folder, [robust(0.125, {"norm": "l2"})])
    hub.before("/commit/", lambda: hub.repositories["alice/model"].commit({"LICENSE": b"theirs"}))
    assert fail("push", model_folder, "alice/model") == (
        1,
        "acl-tf: error: Somebody else has committed to alice/model meanwhile; nothing was changed. Push again.",
    )


@pytest.mark.parametrize(
    "token, message",
    [
        ("hf_wrong", "{url} does not accept the token: log in anew by hf auth login, or correct HF_TOKEN."),
        (None, "{url} wants a login: run hf auth login, or set HF_TOKEN."),
    ],
)
def test_not_logged_in(hub, model_folder, log_in, fail, token, message):
    log_in(token)
    assert fail("push", model_folder, "alice/model") == (1, "acl-tf: error: " + message.format(url=hub.url))


def test_a_tampered_folder(hub, model_folder, fail):
    (model_folder / "config.json").write_text("{}")
    code, said = fail("push", model_folder, "alice/model")
    assert code == 1 and f"{model_folder / 'config.json'} has changed since it was written" in said
    assert hub.requests == []


@pytest.mark.parametrize(
    "name", ["model", "alice/model@v1", "alice/a/b", "alice/..", "a--b/c", "alice/m.git", "", "a/b c"]
)
def test_names_that_cannot_be(hub, model_folder, fail, name):
    assert fail("push", model_folder, name) == (
        2,
        "acl-tf: error: A model is published as user/name, of letters, digits, '-', '_' and '.'; "
        f"--tag gives the version. Received: {name!r}",
    )
    assert hub.requests == []


def test_a_model_that_is_on_the_hub(hub, fail):
    assert fail("push", "alice/other", "alice/model") == (
        2,
        "acl-tf: error: No such folder; what is on the Hub already, acl-tf pull brings here. Received: 'alice/other'",
    )
    assert hub.requests == []


def test_no_folder(hub, tmp_path, fail):
    nowhere = tmp_path / "none"
    assert fail("push", nowhere, "alice/model") == (
        1,
        f"acl-tf: error: No model folder and no run. Received: '{nowhere}'",
    )


@pytest.mark.slow
def test_processes_that_know_the_hub_by_their_environment(hub, model_folder, tmp_path):
    """Push, pull by tag, offline from the cache, and a wrong token."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TF_"))}
    variables |= environment(hub, tmp_path / "home")

    def call(*arguments: str, **others: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "acl_tf", *arguments]
        return subprocess.run(command, env=variables | others, capture_output=True, text=True, check=False)

    pushed = call("push", str(model_folder), "alice/model", "--tag", "v1")
    assert pushed.returncode == 0, pushed.stderr
    sha = hub.repositories["alice/model"].head.sha
    assert pushed.stdout == f"{hub.url}/alice/model/commit/{sha}\n"
    pulled = call("pull", "alice/model@v1", str(tmp_path / "mine"))
    assert (pulled.returncode, pulled.stdout) == (0, f"{tmp_path / 'mine'}\n"), pulled.stderr
    assert json.loads((tmp_path / "mine" / "origin.json").read_text())["revision"] == sha
    asked = len(hub.requests)
    offline = call("pull", "alice/model@v1", HF_HUB_OFFLINE="1", HF_ENDPOINT="http://127.0.0.1:9")
    assert offline.returncode == 0, offline.stderr
    assert offline.stdout.strip().endswith(f"/snapshots/{sha}") and len(hub.requests) == asked
    wrong = call("pull", "alice/model@v1", HF_TOKEN="hf_wrong")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert wrong.stderr.splitlines()[1:] == [
        f"acl-tf: error: {hub.url} does not accept the token: log in anew by hf auth login, or correct HF_TOKEN."
    ]
