"""From the Hub to the cache and to a folder."""

import datetime
import hashlib
import json
import os
import random
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import huggingface_hub.constants as constants
import numpy as np
import pytest

import acl_tf
from acl_tf.errors import HubError, ModelFolderError, UnsafeModelError, UsageError
from acl_tf.hub.names import HubName
from acl_tf.hub.pull import fetch, pull
from acl_tf.hub.push import Published, push
from acl_tf.model_folder.manifest import verify
from acl_tf.model_folder.write import add_to_model_folder
from tests.hub.conftest import complaint, environment
from tests.hub.hub_storage import Blob
from tests.report.folders import record

FILES = {
    "config.json": b'{"kind": "encoder"}\n',
    "model.keras": random.Random(0).randbytes(200_000),
    "saved_model/variables/variables.index": b"index",
}
MODEL = HubName("alice/model")
IMAGES = np.random.default_rng(0).random((2, 16, 16, 3), np.float32)
DOWNLOADS = r"^GET (/storage/|/alice/model/resolve/)"


def manifest_of(files: dict[str, bytes]) -> bytes:
    entries = {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)} for name, content in files.items()
    }
    return json.dumps({"files": entries}).encode()


def with_manifest(files: dict[str, bytes]) -> dict[str, bytes]:
    return {**files, "manifest.json": manifest_of(files)}


def content_of(folder) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def repository(hub):
    return hub.add("alice/model", with_manifest(FILES))


def blob_in_cache(name: str) -> Path:
    """Returns the file that holds what the cache knows by this name."""
    (link,) = Path(constants.HF_HUB_CACHE, "models--alice--model", "snapshots").glob(f"*/{name}")
    return link.resolve()


# What comes


def test_by_branch_tag_and_commit(repository):
    old = repository.head.sha
    repository.tags["v1"] = old
    new = repository.commit(with_manifest({**FILES, "config.json": b"new"})).sha
    for revision, sha, config in [
        (None, new, b"new"),
        ("main", new, b"new"),
        ("v1", old, FILES["config.json"]),
        (old, old, FILES["config.json"]),
        (new, new, b"new"),
    ]:
        snapshot = fetch(HubName("alice/model", revision))
        assert snapshot.name == HubName("alice/model", sha)
        assert content_of(snapshot.folder) == with_manifest({**FILES, "config.json": config})


def test_a_branch_that_moves_meanwhile_gives_the_files_of_one_commit(hub, repository):
    first = repository.head.sha
    hub.before("^GET .*/resolve/.*/manifest.json", lambda: repository.commit(with_manifest({"config.json": b"moved"})))
    snapshot = fetch(MODEL)
    assert snapshot.name.revision == first and content_of(snapshot.folder) == with_manifest(FILES)


def test_from_the_cache(hub, repository):
    fetch(MODEL)
    count = len(hub.log(DOWNLOADS))
    assert content_of(fetch(MODEL).folder) == content_of(fetch(HubName("alice/model", repository.head.sha)).folder)
    assert len(hub.log(DOWNLOADS)) == count


def test_only_the_files_that_are_wanted(hub, repository):
    snapshot = fetch(MODEL, ["config.json", "records.jsonl"])
    assert content_of(snapshot.folder).keys() == {"config.json", "manifest.json"}
    assert hub.log("model.keras|storage|records") == []
    assert content_of(fetch(MODEL).folder) == with_manifest(FILES)


def test_what_the_manifest_does_not_name_is_not_downloaded(hub, repository):
    repository.commit({"huge.bin": bytes(20_000), "run.py": b"evil()", "../evil.py": b"evil()", "/evil.py": b"evil()"})
    assert content_of(fetch(MODEL).folder) == with_manifest(FILES)
    assert hub.log("huge|run.py|evil") == []


def test_a_cache_with_files_of_another_program(repository):
    """`hf download` has put everything there."""
    import huggingface_hub

    huggingface_hub.snapshot_download("alice/model")
    assert content_of(fetch(MODEL).folder).keys() == {*with_manifest(FILES), ".gitattributes"}


# What breaks off


@pytest.mark.parametrize("reset", [False, True])
def test_a_large_file_whose_download_breaks_off(hub, reset):
    large = with_manifest({"model.keras": random.Random(1).randbytes(30_000_000)})
    hub.add("alice/model", large)
    hub.drop("^GET /storage", after=25_000_000, reset=reset)
    assert content_of(fetch(MODEL).folder) == large
    first, second = hub.log("^GET /storage")
    assert first.sent < 30_000_000
    assert second.range == "bytes=20971520-" or reset


def test_an_interrupted_download_continues_with_what_is_missing(hub, repository):
    hub.drop("^GET /storage/.*", after=1000, times=100)
    said = complaint(fetch, MODEL)
    assert said.startswith(f"{hub.url} cannot be reached: ")
    hub.faults.clear()
    before = len(hub.requests)
    assert content_of(fetch(MODEL).folder) == with_manifest(FILES)
    again = [entry.path for entry in hub.requests[before:] if entry.method == "GET" and "/resolve/" in entry.path]
    assert not any(path.endswith("config.json") for path in again)


@pytest.mark.parametrize(
    "pattern", ["^GET /api/models/", "^HEAD .*model.keras", "^HEAD .*manifest", "^GET /api/.*tree"]
)
def test_503_then_success(hub, repository, pattern):
    hub.answer(pattern, 503)
    assert content_of(fetch(MODEL).folder) == with_manifest(FILES)
    assert hub.log(pattern)[0].status == 503


# Who may not


def test_no_such_model(hub, repository):
    assert complaint(fetch, HubName("alice/none")) == (
        f"There is no alice/none on {hub.url}, or it is private and not yours."
    )
    assert complaint(fetch, HubName("alice/model", "v9")) == (
        "alice/model has no such branch, tag or commit. Received: 'v9'"
    )


def test_not_logged_in(hub, log_in):
    hub.add("alice/model", with_manifest(FILES), private=True)
    log_in(None)
    assert complaint(fetch, MODEL) == (
        f"There is no alice/model on {hub.url}, or it is private: log in by hf auth login, or set HF_TOKEN."
    )


def test_somebody_elses(hub, log_in):
    hub.add("alice/model", with_manifest(FILES), private=True)
    log_in("hf_bob")
    assert complaint(fetch, MODEL).endswith("or it is private and not yours.")


@pytest.mark.parametrize("token", ["hf_bob", None])
def test_gated(hub, log_in, token):
    hub.add("alice/model", with_manifest(FILES), gated_for={"carol"})
    log_in(token)
    assert complaint(fetch, MODEL) == (
        f"alice/model is gated: ask for access at {hub.url}/alice/model, then log in as that user."
    )


@pytest.mark.parametrize("revision", [None, "main", "sha"])
def test_a_wrong_token_is_an_error_even_with_a_warm_cache(hub, repository, log_in, revision):
    name = HubName("alice/model", repository.head.sha if revision == "sha" else revision)
    fetch(name)
    log_in("hf_wrong")
    assert complaint(fetch, name) == (
        f"{hub.url} does not accept the token: log in anew by hf auth login, or correct HF_TOKEN."
    )


def test_access_that_was_withdrawn_is_an_error_even_with_a_warm_cache(hub, repository, log_in):
    fetch(MODEL)
    repository.private = True
    log_in("hf_bob")
    assert complaint(fetch, MODEL).endswith("or it is private and not yours.")


def test_no_network(hub, repository, monkeypatch):
    fetch(MODEL)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{unused.getsockname()[1]}"
        monkeypatch.setattr(constants, "ENDPOINT", nowhere)
        said = complaint(fetch, MODEL)
    assert said.startswith(f"{nowhere} cannot be reached: ") and "Connection refused" in said
    assert said.endswith(" HF_HUB_OFFLINE=1 takes what is in the cache.")


def test_a_server_that_fails_all_the_time(hub, repository):
    hub.answer("^GET /api/models/", 500, times=100)
    assert complaint(fetch, MODEL).startswith(f"{hub.url} failed with 500; try again later. ")


def test_no_model_of_acl_tf(hub):
    hub.add("alice/model", {"pytorch_model.bin": b"\0"})
    assert complaint(fetch, MODEL) == "alice/model holds no acl-tf model: it has no manifest.json."


# Offline


@pytest.mark.parametrize("revision", [None, "main", "v1", "sha"])
def test_offline_from_the_cache(hub, repository, go_offline, log_in, revision):
    repository.tags["v1"] = sha = repository.head.sha
    name = HubName("alice/model", sha if revision == "sha" else revision)
    fetch(name)
    go_offline()
    log_in("hf_wrong")
    asked = len(hub.requests)
    snapshot = fetch(name)
    assert snapshot.name.revision == sha and content_of(snapshot.folder) == with_manifest(FILES)
    assert len(hub.requests) == asked


def test_offline_without_the_files(hub, repository, go_offline):
    fetch(MODEL, ["config.json"])
    go_offline()
    cache = f"is not in the cache, {constants.HF_HUB_CACHE}"
    assert complaint(fetch, HubName("alice/other")) == f"Offline mode is on (HF_HUB_OFFLINE), and alice/other {cache}."
    assert complaint(fetch, HubName("alice/model", "v1")).startswith(
        "Offline mode is on (HF_HUB_OFFLINE), and alice/model@v1"
    )
    assert content_of(fetch(MODEL, ["config.json"]).folder).keys() == {"config.json", "manifest.json"}
    assert f"is not whole in the cache, {constants.HF_HUB_CACHE}" in complaint(fetch, MODEL)


# What was tampered with


@pytest.mark.parametrize("name", FILES)
def test_a_file_changed_in_the_repository(hub, repository, name):
    changed = bytes([FILES[name][0] ^ 1]) + FILES[name][1:]  # of the same size
    repository.commit({name: changed})
    said = complaint(fetch, MODEL, error=HubError if repository.head.files[name].lfs else ModelFolderError)
    assert name in said
    if repository.head.files[name].lfs:
        assert said == f"{name} in alice/model is not the file that its manifest names; nothing of it was used."
        assert hub.log("^GET /storage") == []  # not even downloaded


def test_a_file_of_another_size_in_the_repository(hub, repository):
    repository.commit({"config.json": bytes(10_000)})
    assert complaint(fetch, MODEL) == (
        "config.json in alice/model is not the file that its manifest names; nothing of it was used."
    )
    assert hub.log("^GET .*config.json") == []


def test_a_file_missing_in_the_repository(repository):
    repository.commit({"model.keras": None})
    assert complaint(fetch, MODEL) == (
        "model.keras is missing in alice/model, although its manifest names it; nothing of it was used."
    )


def test_a_storage_that_delivers_other_bytes(repository):
    """The listing is right, what comes is not."""
    large = repository.head.files["model.keras"]
    repository.large[large.sha256] = bytes(len(large.content))
    assert "model.keras has changed since it was written" in complaint(fetch, MODEL, error=ModelFolderError)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("offline", [False, True])
def test_a_file_changed_in_the_cache(repository, go_offline, name, offline):
    fetch(MODEL)
    blob = blob_in_cache(name)
    blob.write_bytes(bytes(len(FILES[name])))
    if offline:
        go_offline()
    said = complaint(fetch, MODEL, error=ModelFolderError)
    assert f"/{name} has changed since it was written" in said


def test_a_cache_that_leads_elsewhere(repository, tmp_path):
    folder = fetch(MODEL).folder
    (tmp_path / "secret").write_bytes(FILES["config.json"])
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to(tmp_path / "secret")
    assert complaint(fetch, MODEL, error=UnsafeModelError) == (
        f"{folder} holds a symbolic link; copy the file instead. Received: 'config.json'"
    )


@pytest.mark.parametrize(
    "name, message",
    [
        ("../evil.py", "names a path outside of it"),
        ("a/../../evil.py", "names a path outside of it"),
        ("/etc/passwd", "names an absolute path"),
        ("~/evil.py", "names an absolute path"),
        ("C:\\evil.py", "names an absolute path"),
        ("*", "names a file by other than letters"),
        ("a b", "names a file by other than letters"),
        ("a//b", "names a file by other than letters"),
    ],
)
def test_a_hostile_manifest(repository, tmp_path, name, message):
    repository.commit({name: b"evil", "manifest.json": manifest_of({**FILES, name: b"evil"})})
    before = {path for path in tmp_path.rglob("*") if "evil" in path.name}
    said = complaint(fetch, MODEL, error=UnsafeModelError)
    assert message in said and said.endswith(f"Received: {name!r}")
    assert {path for path in tmp_path.rglob("*") if "evil" in path.name} == before == set()


@pytest.mark.parametrize("manifest", [b"", b"[]", b'{"files": []}', b'{"files": {"a": {"size": 1}}}', b"[" * 100_000])
def test_a_damaged_manifest(repository, manifest):
    repository.commit({"manifest.json": Blob(manifest, lfs=False)})
    assert "manifest.json is damaged: " in complaint(fetch, MODEL, error=ModelFolderError)


FRESH = """
from acl_tf.hub.names import HubName
from acl_tf.hub.pull import fetch

print(fetch(HubName("alice/model")).folder)
"""


def test_a_process_of_its_own(hub, repository, tmp_path):
    """Nothing but the environment tells it where the Hub is, and nothing has imported the client before."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    variables |= environment(hub, tmp_path / "home")
    for others in ({}, {"HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9"}):
        done = subprocess.run(
            [sys.executable, "-c", FRESH], env=variables | others, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert content_of(Path(done.stdout.rstrip())) == with_manifest(FILES)


# Into a folder


@pytest.fixture
def published(hub, model_folder) -> Published:
    return push(model_folder, "alice/model", tag="v1")


def test_a_folder_of_plain_files_that_says_where_it_is_from(hub, published, tmp_path):
    destination = tmp_path / "new" / "place"
    snapshot = pull(HubName("alice/model", "v1"), destination)
    sha = published.name.revision
    assert snapshot.name == published.name
    files = content_of(destination)
    origin = json.loads(files.pop("origin.json"))
    assert datetime.datetime.fromisoformat(origin.pop("date")).tzinfo
    remote = {name: blob.content for name, blob in hub.repositories["alice/model"].head.files.items()}
    assert origin == {
        "repo_id": "alice/model",
        "revision": sha,
        "requested": "v1",
        "manifest_sha256": hashlib.sha256(remote["manifest.json"]).hexdigest(),
        "trusted": [],
        "acl_tf": acl_tf.__version__,
    }
    del remote[".gitattributes"], remote["manifest.json"], files["manifest.json"]
    assert files == remote
    assert not any(path.is_symlink() for path in destination.rglob("*"))
    assert [path.name for path in destination.parent.iterdir()] == ["place"]
    verify(destination)
    shutil.rmtree(constants.HF_HUB_CACHE)
    model = acl_tf.load(destination)
    assert model.config["origin"] == {**origin, "date": model.config["origin"]["date"]}


def test_what_is_pulled_is_not_the_caches(published, tmp_path):
    """What is written to it later leaves the cache as it is."""
    pull(MODEL, tmp_path / "mine")
    add_to_model_folder(tmp_path / "mine", [record(value=0.25)])
    for file in (tmp_path / "mine").rglob("*.json*"):
        file.write_text("spoilt")
    fetch(MODEL)


def test_an_empty_folder_will_do(published, tmp_path):
    (tmp_path / "empty").mkdir()
    pull(MODEL, tmp_path / "empty")
    verify(tmp_path / "empty")


def test_a_folder_that_is_taken(hub, published, tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").write_text("mine")
    asked = len(hub.requests)
    for taken in (tmp_path / "taken", tmp_path / "taken" / "mine.txt"):
        assert complaint(pull, MODEL, taken, error=UsageError) == (
            f"The folder holds something already; choose another. Received: '{taken}'"
        )
    assert (tmp_path / "taken" / "mine.txt").read_text() == "mine" and len(hub.requests) == asked


def test_nothing_is_left_of_a_pull_that_fails(hub, published, tmp_path):
    hub.repositories["alice/model"].commit({"config.json": b"{}"})
    complaint(pull, MODEL, tmp_path / "place" / "model")
    assert not (tmp_path / "place").exists() or list((tmp_path / "place").iterdir()) == []


def test_pulled_and_pushed_again(hub, published, tmp_path, log_in):
    pull(MODEL, tmp_path / "mine")
    log_in("hf_bob")
    push(tmp_path / "mine", "bob/fork")
    snapshot = fetch(HubName("bob/fork"))
    assert "bob/fork" in (snapshot.folder / "README.md").read_text()
    assert "alice/model" not in (snapshot.folder / "README.md").read_text()


def test_trust(hub, model_folder, tmp_path):
    import tensorflow as tf

    class Reader(tf.Module):
        @tf.function(input_signature=[])
        def read(self):
            return {"content": tf.io.read_file("/etc/hostname")}

    push(model_folder, "alice/model")
    reader = Reader()
    tf.saved_model.save(reader, str(tmp_path / "hostile"), signatures=reader.read)
    hostile = content_of(tmp_path / "hostile")
    files = {name: blob.content for name, blob in hub.repositories["alice/model"].head.files.items()}
    del files[".gitattributes"], files["manifest.json"]
    files |= {f"saved_model/{name}": content for name, content in hostile.items()}
    hub.repositories["alice/model"].commit(with_manifest(files))
    said = complaint(pull, MODEL, tmp_path / "mine", error=UnsafeModelError)
    assert "ReadFile" in said and not (tmp_path / "mine").exists()
    pull(MODEL, tmp_path / "mine", trust=True)
    trusted = json.loads((tmp_path / "mine" / "origin.json").read_text())["trusted"]
    assert len(trusted) == 1 and "ReadFile" in trusted[0]


# In Python


def test_load_from_the_hub_and_from_disk_alike(published, model_folder, tmp_path):
    sha = published.name.revision
    local = acl_tf.load(model_folder)
    for model, revision in [
        ("alice/model", None),
        ("alice/model", "v1"),
        (f"alice/model@{sha}", None),
    ]:
        remote = acl_tf.load(model, revision=revision)
        np.testing.assert_array_equal(remote(IMAGES), local(IMAGES))
        assert remote.records == local.records != []
        assert remote.config == {**local.config, "origin": {"repo_id": "alice/model", "revision": sha}}


def test_load_takes_no_more_than_it_needs(hub, published):
    acl_tf.load("alice/model")
    assert not any("paired" in entry.path or "saved_model" in entry.path for entry in hub.log("resolve"))


def test_what_is_on_disk_goes_first(hub, published, model_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(model_folder, tmp_path / "alice" / "model")
    asked = len(hub.requests)
    assert "origin" not in acl_tf.load("alice/model").config and len(hub.requests) == asked


def test_a_revision_of_what_has_none(published, model_folder):
    for model in (str(model_folder), "alice/model@v1"):
        assert complaint(acl_tf.load, model, revision="v1", error=UsageError) == (
            f"A revision is one of a model on the Hub, user/name. Received: {model!r} with revision 'v1'"
        )


def test_a_tampered_model_is_not_loaded(hub, published):
    repository = hub.repositories["alice/model"]
    content = bytearray(repository.head.files["model.keras"].content)
    content[len(content) // 2] ^= 1
    repository.commit({"model.keras": bytes(content)})
    assert complaint(acl_tf.load, "alice/model").endswith(
        " model.keras in alice/model is not the file that its manifest names; nothing of it was used."
    )
    assert acl_tf.load("alice/model", revision="v1").records


def test_an_encoder_to_train_further(published, model_folder):
    remote, local = acl_tf.load_encoder("alice/model", revision="v1"), acl_tf.load_encoder(model_folder)
    for mine, theirs in zip(remote.variables, local.variables, strict=True):
        np.testing.assert_array_equal(mine.value.numpy(), theirs.value.numpy())


def test_a_card_that_was_edited_on_the_hub(hub, published, model_folder, tmp_path):
    """Its web page has a button for that. The model still loads; the next push mends it and keeps the words."""
    repository = hub.repositories["alice/model"]
    repository.commit({"README.md": repository.head.files["README.md"].content + b"\nMy words.\n"})
    acl_tf.load("alice/model")
    message = complaint(pull, MODEL, tmp_path / "mine")
    assert message.startswith("README.md in alice/model is not the file that its manifest names")
    assert message.endswith("Its owner can mend a card that was edited there by acl-tf push.")
    push(model_folder, "alice/model")
    pull(MODEL, tmp_path / "mine")
    assert "My words." in (tmp_path / "mine" / "README.md").read_text()
