"""`acl-tf pull`."""

import json
from pathlib import Path

import huggingface_hub.constants as constants
import pytest

from acl_tf.cli import run
from acl_tf.hub.push import push
from acl_tf.model_folder.manifest import verify


@pytest.fixture
def sha(hub, model_folder) -> str:
    """The commit of what is published."""
    return push(model_folder, "alice/model", tag="v1").name.revision


@pytest.mark.parametrize("revision", ["", "@main", "@v1", "@sha"])
def test_into_a_folder(hub, sha, tmp_path, capsys, revision):
    revision = revision.replace("sha", sha)
    hub.repositories["alice/model"].commit({"LICENSE": b"later"})
    assert run(["pull", f"alice/model{revision}", str(tmp_path / "mine")]) == 0
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 'mine'}\n"
    expected = sha if revision in ("@v1", f"@{sha}") else hub.repositories["alice/model"].head.sha
    assert f"acl-tf: alice/model@{expected}\n" in err
    verify(tmp_path / "mine")
    origin = json.loads((tmp_path / "mine" / "origin.json").read_text())
    assert (origin["repo_id"], origin["revision"]) == ("alice/model", expected)
    assert origin["requested"] == (revision.removeprefix("@") or None)


def test_into_the_cache(hub, sha, capsys):
    assert run(["pull", "alice/model@v1"]) == 0
    folder = Path(capsys.readouterr().out.rstrip("\n"))
    assert folder == Path(constants.HF_HUB_CACHE, "models--alice--model", "snapshots", sha)
    verify(folder)
    assert (folder / "paired.safetensors").is_file()


def test_what_was_pulled_is_a_model_for_other_commands(hub, sha, tmp_path, capsys):
    assert run(["pull", "alice/model", str(tmp_path / "mine")]) == 0
    assert run(["show", str(tmp_path / "mine")]) == 0
    assert "45.10" in capsys.readouterr().out


def test_offline(hub, sha, capsys, fail, go_offline):
    assert run(["pull", "alice/model@v1"]) == 0
    online = capsys.readouterr().out
    go_offline()
    asked = len(hub.requests)
    assert run(["pull", "alice/model@v1"]) == 0
    assert capsys.readouterr().out == online and len(hub.requests) == asked
    assert fail("pull", "alice/other") == (
        1,
        "acl-tf: error: Offline mode is on (HF_HUB_OFFLINE), and alice/other is not in the cache, "
        f"{constants.HF_HUB_CACHE}.",
    )


@pytest.mark.parametrize("token", ["hf_wrong"])
def test_a_wrong_token_and_a_warm_cache(hub, sha, capsys, fail, log_in, token):
    assert run(["pull", "alice/model@v1"]) == 0
    capsys.readouterr()
    log_in(token)
    assert fail("pull", "alice/model@v1") == (
        1,
        f"acl-tf: error: {hub.url} does not accept the token: log in anew by hf auth login, or correct HF_TOKEN.",
    )


def test_each_refusal_has_a_message_of_its_own(hub, sha, fail, log_in, monkeypatch):
    hub.add("alice/gated", {"manifest.json": b"{}"}, gated_for=set())
    hub.add("alice/private", {"manifest.json": b"{}"}, private=True)
    said = [fail("pull", name) for name in ("alice/none", "alice/model@v9")]
    log_in("hf_bob")
    said += [fail("pull", name) for name in ("alice/gated", "alice/private")]
    log_in(None)
    said += [fail("pull", "alice/private")]
    log_in("hf_wrong")
    said += [fail("pull", "alice/model")]
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    said += [fail("pull", "alice/model")]
    assert [code for code, _ in said] == [1] * 7
    assert len({message for _, message in said}) == 7
    for (_, message), part in zip(
        said,
        ["There is no", "no such branch", "gated", "private and not yours", "log in", "the token", "cannot be reached"],
        strict=True,
    ):
        assert part in message


def test_a_file_tampered_in_the_repository(hub, sha, tmp_path, fail):
    repository = hub.repositories["alice/model"]
    content = repository.head.files["paired.safetensors"].content
    repository.commit({"paired.safetensors": content[:-1] + bytes([content[-1] ^ 1])})
    assert fail("pull", "alice/model", tmp_path / "mine") == (
        1,
        "acl-tf: error: paired.safetensors in alice/model is not the file that its manifest names; "
        "nothing of it was used.",
    )
    assert not (tmp_path / "mine").exists()


def test_a_file_tampered_in_the_cache(hub, sha, tmp_path, capsys, fail):
    assert run(["pull", "alice/model"]) == 0
    folder = Path(capsys.readouterr().out.rstrip("\n"))
    blob = (folder / "model.keras").resolve()
    blob.write_bytes(bytes(blob.stat().st_size))
    code, said = fail("pull", "alice/model", tmp_path / "mine")
    assert code == 1 and said.startswith(f"acl-tf: error: {folder / 'model.keras'} has changed since it was written")
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize(
    "name", ["model", "alice/model@", "a/b/c", "../model", "/alice/model", "alice/model@v1@v2", ""]
)
def test_names_that_cannot_be(hub, fail, name):
    assert fail("pull", name) == (
        2,
        f"acl-tf: error: A model on the Hub is user/name or user/name@revision. Received: {name!r}",
    )
    assert hub.requests == []


def test_names_that_the_hub_does_not_know(hub, fail):
    for name in ("a--b/c", "alice/a..b", "alice/m.git"):
        code, said = fail("pull", name)
        assert code in (1, 2) and name in said


def test_a_folder_that_is_taken(hub, sha, tmp_path, fail):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.txt").touch()
    assert fail("pull", "alice/model", tmp_path / "mine") == (
        2,
        f"acl-tf: error: The folder holds something already; choose another. Received: '{tmp_path / 'mine'}'",
    )


def test_trust_needs_a_folder(hub, sha, fail):
    assert fail("pull", "alice/model", "--trust") == (
        2,
        "acl-tf: error: --trust is recorded in a folder of yours; name one. Received: --trust without DIR",
    )


def test_into_the_folder_that_one_is_in(fail, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for here in (".", tmp_path, "../" + tmp_path.name):
        code, line = fail("pull", "alice/model", here)
        assert code == 2 and line.startswith("acl-tf: error: The folder that you are in cannot be exchanged")
