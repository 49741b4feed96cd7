"""The test Hub against the plain client: what it must do before a test of acl-tf on it means anything."""

import hashlib
import os
import random
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tests.hub.conftest import environment

FILES = {"config.json": b"{}\n", "model.keras": bytes(range(256)) * 9, "saved_model/variables/a.index": b"text"}
LARGE = random.Random(0).randbytes(30_000_000)


def push(files: dict[str, bytes | None], **options) -> str:
    operations = [
        CommitOperationDelete(path) if content is None else CommitOperationAdd(path, content)
        for path, content in files.items()
    ]
    return HfApi().create_commit("alice/model", operations, commit_message="Change", **options).oid


def content_of(folder: str) -> dict[str, bytes]:
    files = {path.relative_to(folder).as_posix(): path for path in Path(folder).rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if name != ".gitattributes"}


def status_of(call, *arguments, **options) -> int:
    with pytest.raises(HfHubHTTPError) as error:
        call(*arguments, **options)
    return error.value.response.status_code


@pytest.fixture
def repository(hub):
    return hub.add("alice/model", FILES)


def test_round_trip(hub):
    assert str(huggingface_hub.create_repo("alice/model")) == f"{hub.url}/alice/model"
    first = hub.repositories["alice/model"].head
    sha = push(FILES, parent_commit=first.sha)
    HfApi().create_tag("alice/model", tag="v1", revision=sha)
    for revision in (None, "main", "v1", sha):
        folder = snapshot_download("alice/model", revision=revision)
        assert Path(folder).name == sha and len(sha) == 40
        assert content_of(folder) == FILES
    assert hub.repositories["alice/model"].head.parent == first.sha
    assert {path for path, blob in hub.repositories["alice/model"].head.files.items() if blob.lfs} == {
        "model.keras",
        "saved_model/variables/a.index",
    }


def test_what_is_there_is_not_uploaded(hub, repository):
    assert push(FILES) == repository.head.sha
    assert push({**FILES, "copy.keras": FILES["model.keras"]}) == repository.head.sha != repository.head.parent
    assert hub.log("^PUT") == []
    assert len(hub.log("^POST .*/commit/")) == 1


def test_deletion(repository):
    push({"config.json": None, "b.txt": b"b"})
    assert repository.head.files.keys() == {*FILES, ".gitattributes", "b.txt"} - {"config.json"}
    assert status_of(push, {"config.json": None}) == 404


def test_what_the_api_tells(repository):
    api = HfApi()
    api.create_branch("alice/model", branch="old")
    info = api.model_info("alice/model", files_metadata=True)
    described = {file.rfilename: file for file in info.siblings}
    assert info.sha == repository.head.sha and info.private is False and info.gated is False
    assert described["model.keras"].lfs["sha256"] == hashlib.sha256(FILES["model.keras"]).hexdigest()
    assert described["config.json"].size == 3 and described["config.json"].lfs is None
    listed = {file.path: file for file in api.list_repo_tree("alice/model", recursive=True)}
    assert listed.keys() == {*FILES, ".gitattributes", "saved_model", "saved_model/variables"}
    # As `git hash-object` says.
    assert (
        listed["config.json"].blob_id == described["config.json"].blob_id == "0967ef424bce6791893e9a57bb952f80fd536e93"
    )
    assert api.get_paths_info("alice/model", ["model.keras", "none"])[0].lfs.size == len(FILES["model.keras"])
    refs = api.list_repo_refs("alice/model")
    assert [(ref.name, ref.target_commit) for ref in refs.branches] == [
        ("main", repository.head.sha),
        ("old", repository.head.sha),
    ]
    assert api.whoami()["name"] == "alice"
    with pytest.warns(UserWarning, match="empty or missing yaml metadata"):
        push({"README.md": b"no card"})


def test_conflicts(hub, repository):
    api, parent = HfApi(), repository.head.sha
    hub.before("^POST .*/commit/", lambda: repository.commit({"other.txt": b"first"}))
    assert status_of(push, {"config.json": b"[]"}, parent_commit=parent) == 412
    assert repository.head.message == "another hand" and repository.head.files["config.json"].content == b"{}\n"
    api.create_tag("alice/model", tag="v1")
    assert status_of(api.create_tag, "alice/model", tag="v1") == 409
    assert status_of(api.create_branch, "alice/model", branch="main") == 409
    assert status_of(api.create_repo, "alice/model") == 409
    api.create_repo("alice/model", exist_ok=True)


def test_what_is_not_there(repository):
    with pytest.raises(RepositoryNotFoundError):
        snapshot_download("alice/none")
    with pytest.raises(RevisionNotFoundError):
        snapshot_download("alice/model", revision="v9")
    with pytest.raises(RevisionNotFoundError):
        hf_hub_download("alice/model", "config.json", revision="0" * 40)
    with pytest.raises(RemoteEntryNotFoundError):
        hf_hub_download("alice/model", "none.json")


def test_who_may_do_what(hub, repository, log_in):
    api = HfApi()
    hub.add("alice/private", FILES, private=True)
    hub.add("alice/gated", FILES, gated_for={"carol"})
    snapshot_download("alice/private")
    log_in("hf_alice_reads")
    assert status_of(push, {"a": b"a"}) == 403
    assert status_of(api.create_repo, "alice/new") == 403
    log_in("hf_bob")
    assert status_of(push, {"a": b"a"}) == 403
    with pytest.raises(RepositoryNotFoundError) as error:
        api.model_info("alice/private")
    assert error.value.response.status_code == 404
    api.model_info("alice/gated")  # which anyone may
    with pytest.raises(GatedRepoError) as gated:
        hf_hub_download("alice/gated", "config.json")
    assert gated.value.response.status_code == 403
    log_in(None)
    with pytest.raises(RepositoryNotFoundError) as error:
        api.model_info("alice/private")
    assert error.value.response.status_code == 401
    with pytest.raises(GatedRepoError):
        api.auth_check("alice/gated")
    log_in("hf_wrong")
    assert status_of(api.model_info, "alice/model") == 401
    assert status_of(api.whoami) == 401
    assert hub.repositories.keys() == {"alice/model", "alice/private", "alice/gated"}
    hub.repositories["alice/gated"].gated_for.add("bob")
    log_in("hf_bob")
    assert content_of(snapshot_download("alice/gated")) == FILES


def test_a_large_file_whose_upload_and_download_break_off(hub):
    hub.add("alice/model")
    hub.drop("^PUT /storage", after=20_000_000, reset=True)
    hub.answer("^PUT /storage", 503)
    push({"weights.safetensors": LARGE})
    cut, refused, stored = hub.log("^PUT")
    assert 20_000_000 <= cut.received < 30_000_000 and refused.status == 503 and stored.status == 200
    hub.drop("^GET /storage", after=15_000_000)
    assert content_of(snapshot_download("alice/model")) == {"weights.safetensors": LARGE}
    first, second = hub.log("^GET /storage")
    assert (first.sent, first.range) == (15_000_000, None)
    assert second.range == "bytes=10485760-" and second.sent == 30_000_000 - 10_485_760


def test_503_then_success(hub, repository):
    for pattern in ("^POST .*/preupload/", "^POST .*/objects/batch", "^PUT"):
        hub.answer(pattern, 503, times=2)
    push({"model.keras": b"\0 new"})
    hub.answer("^HEAD .*model.keras", 503)
    assert content_of(snapshot_download("alice/model"))["model.keras"] == b"\0 new"
    assert len(hub.log("^PUT")) == len(hub.log("preupload")) == 3


def test_what_the_client_does_not_mend(hub, repository):
    """A commit, a look and a reset connection: whoever calls the client must deal with them."""
    hub.answer("^POST .*/commit/", 503)
    assert status_of(push, {"a": b"a"}) == 503
    hub.answer("^GET /api/models/alice/model", 503)
    with pytest.raises(LocalEntryNotFoundError):
        snapshot_download("alice/model")
    hub.drop(f"^GET /storage/.*{repository.head.files['model.keras'].sha256}", after=1000, reset=True)
    with pytest.raises(Exception, match="reset by peer"):
        snapshot_download("alice/model")


def test_offline(hub, repository, go_offline):
    folder = snapshot_download("alice/model")
    go_offline()
    asked = len(hub.requests)
    assert snapshot_download("alice/model") == folder
    with pytest.raises(LocalEntryNotFoundError):
        snapshot_download("alice/other")
    assert len(hub.requests) == asked


def test_a_wrong_token_and_a_spoilt_cache_pass_the_plain_client(hub, repository, log_in):
    """Why acl-tf looks twice."""
    folder = snapshot_download("alice/model")
    cached = Path(folder, "config.json").resolve()
    cached.write_bytes(b"[]\n")
    log_in("hf_wrong")
    assert content_of(snapshot_download("alice/model"))["config.json"] == b"[]\n"


def test_the_environment_alone_points_a_process_here(hub, repository, tmp_path):
    code = "import huggingface_hub as h; print(h.snapshot_download('alice/model')); print(h.whoami()['name'])"
    others = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    variables = others | environment(hub, tmp_path / "home")
    done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=True)
    folder, name = done.stdout.split()
    assert Path(folder).is_relative_to(tmp_path / "home") and content_of(folder) == FILES and name == "alice"
