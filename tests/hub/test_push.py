"""From a model folder to the Hub."""

import json
import random
import shutil

import huggingface_hub.constants as constants
import numpy as np
import pytest

import acl_tf
from acl_tf.errors import ModelFolderError, UnsafeModelError
from acl_tf.files import sha256
from acl_tf.hub.names import HubName
from acl_tf.hub.pull import fetch
from acl_tf.hub.push import Published, push
from acl_tf.model_folder.manifest import write_manifest
from acl_tf.model_folder.write import add_to_model_folder
from tests.hub.conftest import complaint
from tests.report.folders import robust

UPLOADS = "^(PUT|POST .*/(commit/|tag/|create))"
MODEL = "alice/model"


def names(hub) -> set[str]:
    return set(hub.repositories[MODEL].head.files) - {".gitattributes"}


def files_of(folder) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def changed(hub) -> set[str]:
    """Names what the last commit has added, changed or removed."""
    repository = hub.repositories[MODEL]
    new, old = repository.head.files, repository.commits[repository.head.parent].files
    return {name for name in {*new, *old} if new.get(name) != old.get(name)}


def asked(hub, pattern: str, since: int = 0) -> list[str]:
    return [entry.method for entry in hub.log(pattern) if hub.requests.index(entry) >= since]


# What gets there


def test_one_commit_then_the_tag(hub, model_folder):
    published = push(model_folder, MODEL, tag="v1", message="As in the paper")
    repository = hub.repositories[MODEL]
    sha = repository.head.sha
    assert published == Published(HubName(MODEL, sha), f"{hub.url}/{MODEL}/commit/{sha}", uploaded=True)
    assert len(repository.commits) == 2 and repository.head.message == "As in the paper"
    assert repository.tags == {"v1": sha} and repository.private is False
    assert [entry.path.split("/")[-2] for entry in hub.log("^POST .*/(commit|tag)/")] == ["commit", "tag"]
    assert names(hub) == {*files_of(model_folder), "README.md"}


def test_what_is_there_is_what_the_folder_holds(hub, model_folder):
    before = files_of(model_folder)
    push(model_folder, MODEL)
    assert files_of(model_folder) == before
    files = {name: blob.content for name, blob in hub.repositories[MODEL].head.files.items()}
    for name in before.keys() - {"README.md", "config.json", "manifest.json"}:
        assert files[name] == before[name]
    assert json.loads(files["config.json"]) == json.loads(before["config.json"])
    assert json.loads(files["manifest.json"])["files"].keys() == names(hub) - {"manifest.json"}
    fetch(HubName(MODEL))  # which compares everything with the manifest


def test_the_same_again_uploads_nothing(hub, model_folder):
    first = push(model_folder, MODEL, tag="v1")
    since = len(hub.requests)
    for tag in (None, "v1"):
        again = push(model_folder, MODEL, tag=tag)
        assert again == Published(first.name, first.url, uploaded=False)
    assert asked(hub, "^PUT|/commit/|/tag/", since) == []
    assert len(hub.repositories[MODEL].commits) == 2


def test_a_copy_elsewhere_on_disk_is_the_same(hub, model_folder, tmp_path):
    push(model_folder, MODEL)
    assert not push(shutil.copytree(model_folder, tmp_path / "copy"), MODEL).uploaded


def test_more_records_upload_no_weights(hub, model_folder):
    push(model_folder, MODEL)
    since = len(hub.requests)
    add_to_model_folder(model_folder, [robust(0.125, {"norm": "l2"})])
    assert push(model_folder, MODEL).uploaded
    assert changed(hub) == {"records.jsonl", "README.md", "manifest.json"}
    assert asked(hub, "^PUT", since) == []
    assert hub.repositories[MODEL].head.message == "Publish by acl-tf"


def test_a_tag_that_was_missed_is_made_up_for(hub, model_folder):
    hub.answer("^POST .*/tag/", 503, times=100)
    complaint(push, model_folder, MODEL, tag="v1")
    hub.faults.clear()
    published = push(model_folder, MODEL, tag="v1")
    assert not published.uploaded
    assert hub.repositories[MODEL].tags == {"v1": published.name.revision}


def test_private(hub, model_folder, log_in):
    push(model_folder, MODEL, private=True)
    assert hub.repositories[MODEL].private
    push(model_folder, MODEL)
    assert hub.repositories[MODEL].private
    log_in("hf_bob")
    assert "There is no" in complaint(fetch, HubName(MODEL))


def test_a_public_repository_is_not_taken_for_a_private_one(hub, model_folder):
    hub.add(MODEL)
    assert complaint(push, model_folder, MODEL, private=True) == (
        f"alice/model is public, and --private does not change that: make it private in its settings on {hub.url}, "
        "or choose another name. Nothing was uploaded."
    )
    assert hub.log("^PUT|/commit/|preupload") == []


def test_only_what_an_earlier_push_left_is_removed(hub, model_folder):
    (model_folder / "old").mkdir()
    (model_folder / "old" / "weights.bin").write_bytes(b"\0")
    (model_folder / "old.txt").write_text("old")
    write_manifest(model_folder)
    push(model_folder, MODEL)
    hub.repositories[MODEL].commit({"LICENSE": b"mine", "old/mine.txt": b"mine"})
    shutil.rmtree(model_folder / "old")
    (model_folder / "old.txt").unlink()
    write_manifest(model_folder)
    push(model_folder, MODEL)
    assert changed(hub) == {"old/weights.bin", "old.txt", "manifest.json"}
    assert names(hub) >= {"LICENSE", "old/mine.txt"}
    fetch(HubName(MODEL))


@pytest.mark.parametrize("manifest", [b"", b"[]", b'{"files": null}', b'{"files": {"../x": {}, "LICENSE": {}}}'])
def test_a_damaged_manifest_on_the_hub_is_replaced(hub, model_folder, manifest):
    hub.add(MODEL, {"manifest.json": manifest, "mine.txt": b"mine"})
    push(model_folder, MODEL)
    assert "mine.txt" in names(hub)
    fetch(HubName(MODEL))


def test_what_the_user_writes_on_the_hub_survives(hub, model_folder):
    push(model_folder, MODEL)
    repository = hub.repositories[MODEL]
    card = repository.head.files["README.md"].content.decode()
    head, front, body = card.split("---\n", 2)
    edited = f"{head}---\n{front}license: mit\n---\n# My words first\n\n{body}\nAnd my words last.\n"
    repository.commit({"README.md": edited.encode()})
    push(model_folder, MODEL)
    assert changed(hub) == {"manifest.json"}
    add_to_model_folder(model_folder, [robust(0.125, {"norm": "l2"})])
    push(model_folder, MODEL)
    card = repository.head.files["README.md"].content.decode()
    assert card.count("# My words first") == card.count("And my words last.") == card.count("license: mit") == 1
    assert "12.50" in card
    fetch(HubName(MODEL))


def test_a_card_that_the_hub_does_not_accept(hub, model_folder):
    card = (model_folder / "README.md").read_text()
    (model_folder / "README.md").write_text(card.replace("---\n", "---\nlicense: yes, please\n", 1))
    assert complaint(push, model_folder, MODEL) == (
        f'{hub.url} does not accept the metadata of README.md: "license" must be one of [apache-2.0, mit]'
    )
    assert len(hub.repositories[MODEL].commits) == 1 and hub.log("^PUT") == []


def test_what_comes_back_is_the_model(hub, model_folder):
    push(model_folder, MODEL, tag="v1")
    images = np.random.default_rng(0).random((2, 16, 16, 3), np.float32)
    model, mine = acl_tf.load(MODEL, revision="v1"), acl_tf.load(str(model_folder))
    np.testing.assert_array_equal(model(images), mine(images))
    assert model.records == mine.records and len(model.records) == 2
    assert model.config["arch"] == "resnet10"


# What breaks off


def test_a_large_file_whose_upload_breaks_off(hub, model_folder):
    (model_folder / "large.bin").write_bytes(random.Random(0).randbytes(30_000_000))
    write_manifest(model_folder)
    oid = sha256(model_folder / "large.bin")
    hub.drop(f"^PUT .*{oid}", after=20_000_000, reset=True)
    hub.answer(f"^PUT .*{oid}", 503)
    assert push(model_folder, MODEL).uploaded
    cut, refused, stored = hub.log(f"^PUT .*{oid}")
    assert 20_000_000 <= cut.received < 30_000_000 == stored.received and refused.status == 503
    assert len(fetch(HubName(MODEL)).folder.joinpath("large.bin").read_bytes()) == 30_000_000


def test_an_upload_that_breaks_off_for_good_changes_nothing_and_goes_on(hub, model_folder):
    hub.drop("^PUT", after=1000, times=100)
    said = complaint(push, model_folder, MODEL)
    assert hub.url in said
    assert len(hub.repositories[MODEL].commits) == 1
    hub.faults.clear()
    assert push(model_folder, MODEL).uploaded


@pytest.mark.parametrize(
    "pattern", ["^POST /api/repos/create", "^GET /api/models/", "preupload", "objects/batch", "^PUT", "verify"]
)
def test_503_then_success(hub, model_folder, pattern):
    hub.answer(pattern, 503)
    assert push(model_folder, MODEL).uploaded
    assert hub.log(pattern)[0].status == 503


def test_a_commit_that_fails_changes_nothing(hub, model_folder):
    hub.answer("/commit/", 503, times=100)
    assert complaint(push, model_folder, MODEL, tag="v1").startswith(f"{hub.url} failed with 503; try again later. ")
    assert len(hub.repositories[MODEL].commits) == 1 and hub.repositories[MODEL].tags == {}


def test_a_commit_conflict(hub, model_folder):
    push(model_folder, MODEL)
    repository = hub.repositories[MODEL]
    add_to_model_folder(model_folder, [robust(0.125, {"norm": "l2"})])
    hub.before("/commit/", lambda: repository.commit({"LICENSE": b"theirs"}))
    assert complaint(push, model_folder, MODEL, tag="v2") == (
        "Somebody else has committed to alice/model meanwhile; nothing was changed. Push again."
    )
    assert changed(hub) == {"LICENSE"} and repository.tags == {}
    push(model_folder, MODEL, tag="v2")
    assert "LICENSE" in names(hub) and repository.tags == {"v2": repository.head.sha}


def test_a_tag_of_another_commit(hub, model_folder):
    first = push(model_folder, MODEL, tag="v1")
    add_to_model_folder(model_folder, [robust(0.125, {"norm": "l2"})])
    since = len(hub.requests)
    assert complaint(push, model_folder, MODEL, tag="v1") == (
        f"The tag v1 of alice/model is that of another commit, {first.name.revision}; choose a new one."
    )
    assert asked(hub, "^PUT|/commit/|/tag/", since) == []


# Who may not


@pytest.mark.parametrize(
    "token, repo_id, start",
    [
        ("hf_wrong", MODEL, "{url} does not accept the token: log in anew by hf auth login, or correct HF_TOKEN."),
        (None, MODEL, "{url} wants a login: run hf auth login, or set HF_TOKEN."),
        ("hf_alice_reads", MODEL, "The token may not do this with alice/model; it needs the right to write. "),
        ("hf_alice_reads", "alice/there", "The token may not do this with alice/there; it needs the right to write. "),
        ("hf_bob", MODEL, "The token may not do this with alice/model; it needs the right to write. "),
        ("hf_bob", "alice/there", "The token may not do this with alice/there; it needs the right to write. "),
    ],
)
def test_who_may_not(hub, model_folder, log_in, token, repo_id, start):
    there = hub.add("alice/there")
    log_in(token)
    assert complaint(push, model_folder, repo_id).startswith(start.format(url=hub.url))
    assert hub.repositories.keys() == {"alice/there"} and len(there.commits) == 1


def test_no_network(hub, model_folder, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert complaint(push, model_folder, MODEL).startswith("http://127.0.0.1:9 cannot be reached: ")


def test_offline(hub, model_folder, go_offline):
    go_offline()
    said = complaint(push, model_folder, MODEL)
    assert "HF_HUB_OFFLINE" in said
    assert hub.requests == []


# What is not sent


def spoil(folder) -> None:
    content = bytearray((folder / "model.keras").read_bytes())
    content[1000] ^= 1
    (folder / "model.keras").write_bytes(bytes(content))


@pytest.mark.parametrize(
    "change, error, message",
    [
        (spoil, ModelFolderError, "model.keras has changed since it was written"),
        (lambda folder: (folder / "notes.txt").touch(), ModelFolderError, "notes.txt is not in the manifest"),
        (lambda folder: (folder / "records.jsonl").unlink(), ModelFolderError, "records.jsonl is missing"),
        (lambda folder: (folder / "key").symlink_to("/etc/passwd"), UnsafeModelError, "symbolic link"),
    ],
)
def test_a_folder_that_is_not_as_written_sends_nothing(hub, model_folder, change, error, message):
    change(model_folder)
    assert message in complaint(push, model_folder, MODEL, error=error)
    assert hub.requests == []


def test_folders_of_this_machine_are_not_published(hub, model_folder):
    config = json.loads((model_folder / "config.json").read_text())
    config["recipe"] = {"data": {"dataset": "/home/alice/secret/digits"}, "encoder": {"source": "~/runs/ds/model"}}
    (model_folder / "config.json").write_text(json.dumps(config))
    write_manifest(model_folder)
    push(model_folder, MODEL)
    for name in ("config.json", "README.md"):
        content = hub.repositories[MODEL].head.files[name].content.decode()
        assert "secret" not in content and "runs/" not in content and "digits" in content


# The card of the folder


def test_a_card_that_was_edited_by_hand_is_pushed(hub, model_folder):
    """With an editor, and nothing else."""
    with (model_folder / "README.md").open("a") as file:
        file.write("\nMy words.\n")
    acl_tf.load(model_folder)
    push(model_folder, MODEL)
    assert "My words." in hub.repositories[MODEL].head.files["README.md"].content.decode()
    fetch(HubName(MODEL))


def test_metadata_in_the_folder_and_text_on_the_hub_are_both_kept(hub, model_folder):
    push(model_folder, MODEL)
    repository = hub.repositories[MODEL]
    repository.commit({"README.md": repository.head.files["README.md"].content + b"\nThere.\n"})
    card = (model_folder / "README.md").read_text()
    (model_folder / "README.md").write_text(card.replace("---\n", "---\nlicense: mit\n", 1))
    push(model_folder, MODEL)
    pushed = repository.head.files["README.md"].content.decode()
    assert "There." in pushed and "license: mit" in pushed


def test_where_a_folder_is_from_is_not_published(hub, model_folder):
    (model_folder / "origin.json").write_text('{"repo_id": "bob/model", "revision": "0"}')
    write_manifest(model_folder)
    push(model_folder, MODEL)
    assert "origin.json" not in hub.repositories[MODEL].head.files
    fetch(HubName(MODEL))


# An answer that is lost


def test_a_commit_whose_answer_is_lost_is_found(hub, model_folder):
    """The client asks again, and the Hub has moved on: by this very commit."""
    hub.lose("^POST /api/models/alice/model/commit/")
    published = push(model_folder, MODEL, tag="v1")
    repository = hub.repositories[MODEL]
    assert published.uploaded and published.name.revision == repository.head.sha == repository.tags["v1"]
    assert len(repository.commits) == 2
