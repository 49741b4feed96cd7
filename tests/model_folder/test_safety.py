"""Model folders that lead elsewhere, lie, or are damaged: each refused by its own message by whoever would load it."""

import os
import re
import shutil
import socket
from pathlib import Path

import pytest

import acl_tf
from acl_tf.cli import run
from acl_tf.errors import UnsafeModelError
from acl_tf.model_folder.manifest import verify, write_manifest
from acl_tf.model_folder.read import load_encoder
from acl_tf.safety.paths import check_files, check_names
from tests.safety import hostile
from tests.safety.conftest import EVERYTHING
from tests.safety.hostile import replaced, spoil_manifest

DIGEST = "0" * 64


def linked(file: str, target: str):
    def spoil(folder: Path) -> None:
        (folder / file).unlink(missing_ok=True)
        (folder / file).symlink_to(target)

    return spoil


def link_to_itself(folder: Path) -> None:
    (folder / "loop").symlink_to("loop")


def linked_folder(folder: Path) -> None:
    shutil.copytree(folder / "saved_model", folder.parent / "elsewhere")
    shutil.rmtree(folder / "saved_model")
    (folder / "saved_model").symlink_to(folder.parent / "elsewhere")


def pipe(folder: Path) -> None:
    (folder / "records.jsonl").unlink()
    os.mkfifo(folder / "records.jsonl")


def socket_file(folder: Path) -> None:
    here = os.getcwd()
    os.chdir(folder)  # its path may not be long
    try:
        socket.socket(socket.AF_UNIX).bind("s")
    finally:
        os.chdir(here)


def named(name: str, size: int = 1):
    return spoil_manifest(lambda files: files.update({name: {"sha256": DIGEST, "size": size}}))


def manifest(content: str):
    return lambda folder: replaced(folder, "manifest.json", content)


def sparse_and_signed(folder: Path) -> None:
    hostile.sparse(folder / "model.keras", 10 * 2**30)
    spoil_manifest(lambda files: files["model.keras"].update(size=10 * 2**30))(folder)


def sparse_and_lying(folder: Path) -> None:
    """The manifest says that the file is as small as it was."""
    hostile.sparse(folder / "model.keras", 10 * 2**30)


def sparse_manifest(folder: Path) -> None:
    hostile.sparse(folder / "manifest.json", 2**30)


def flipped(folder: Path) -> None:
    content = bytearray((folder / "model.keras").read_bytes())
    content[len(content) // 2] ^= 1
    replaced(folder, "model.keras", bytes(content))


LINK = "MODEL holds a symbolic link; copy the file instead. Received: "
OUTSIDE = "MODEL/manifest.json names a path outside of it; nothing of it was read. Received: "
ABSOLUTE = "MODEL/manifest.json names an absolute path; nothing of it was read. Received: "
ODD = "MODEL/manifest.json names a file by other than letters, digits, '.', '_', '-' and '/'. Received: "
DAMAGED = "MODEL/manifest.json is damaged: "
LARGE = "is too large for what it is called; it was not read. Received: "
CHANGED = "has changed since it was written: its SHA-256 is not the manifest's."

CASES = {
    "link to a file": (linked("model.keras", "/etc/passwd"), LINK + "'model.keras'"),
    "link beside": (linked("notes.txt", "/etc/passwd"), LINK + "'notes.txt'"),
    "link to a folder": (linked("etc", "/etc"), LINK + "'etc'"),
    "link within": (linked("copy.keras", "model.keras"), LINK + "'copy.keras'"),
    "dangling link": (linked("nowhere", "nothing"), LINK + "'nowhere'"),
    "link to itself": (link_to_itself, LINK + "'loop'"),
    "linked SavedModel": (linked_folder, LINK + "'saved_model'"),
    "link upwards": (linked("up", ".."), LINK + "'up'"),
    "pipe": (pipe, "MODEL holds what is not a file. Received: 'records.jsonl'"),
    "socket": (socket_file, "MODEL holds what is not a file. Received: 's'"),
    "..": (named("../outside"), OUTSIDE + "'../outside'"),
    ".. later": (named("saved_model/../../outside"), OUTSIDE + "'saved_model/../../outside'"),
    "absolute": (named("/etc/passwd"), ABSOLUTE + "'/etc/passwd'"),
    "home": (named("~/.ssh/id_rsa"), ABSOLUTE + "'~/.ssh/id_rsa'"),
    "drive": (named("C:/windows"), ABSOLUTE + "'C:/windows'"),
    "share": (named("\\\\server\\share"), ABSOLUTE + r"'\\\\server\\share'"),
    "backslash": (named("..\\outside"), ODD + r"'..\\outside'"),
    "dot": (named("./model.keras"), ODD + "'./model.keras'"),
    "empty part": (named("saved_model//x"), ODD + "'saved_model//x'"),
    "empty": (named(""), ODD + "''"),
    "null": (named("model\0.keras"), ODD + r"'model\x00.keras'"),
    "new line": (named("model.keras\nx"), ODD + r"'model.keras\nx'"),
    "wildcard": (named("*.keras"), ODD + "'*.keras'"),
    "look-alike": (named("mоdel.keras"), ODD + "'mоdel.keras'"),
    "no JSON": (manifest('{"files": '), DAMAGED + "Expecting value"),
    "binary": (manifest("\x80\x02K\x01."), DAMAGED + "Expecting value: line 1 column 1"),
    "deep": (manifest('{"files": ' * 10**5), DAMAGED + "maximum recursion depth exceeded"),
    "long number": (manifest('{"files": ' + "1" * 5000 + "}"), DAMAGED + "Exceeds the limit"),
    "another form": (manifest('["files"]'), DAMAGED + "list indices"),
    "no size": (spoil_manifest(lambda f: f["model.keras"].pop("size")), DAMAGED + "'size'"),
    "size that is none": (
        spoil_manifest(lambda f: f["model.keras"].update(size=True)),
        DAMAGED + "it has no size and SHA-256 of model.keras.",
    ),
    "hash that is none": (
        spoil_manifest(lambda f: f["config.json"].update(sha256="0x0")),
        DAMAGED + "it has no size and SHA-256 of config.json.",
    ),
    "no entry": (
        spoil_manifest(lambda f: f.pop("model.keras")),
        "MODEL/model.keras is not in the manifest; the folder is not as acl-tf wrote it.",
    ),
    "no file": (
        lambda folder: (folder / "model.keras").unlink(),
        "MODEL/model.keras is missing; the folder is not as acl-tf wrote it.",
    ),
    "another file": (
        lambda folder: replaced(folder, "saved_model/saved_model.cpb", b"x"),
        "MODEL/saved_model/saved_model.cpb is not in the manifest; the folder is not as acl-tf wrote it.",
    ),
    "wrong hash": (spoil_manifest(lambda f: f["model.keras"].update(sha256=DIGEST)), "MODEL/model.keras " + CHANGED),
    "wrong size": (spoil_manifest(lambda f: f["config.json"].update(size=7)), "MODEL/config.json " + CHANGED),
    "one bit": (flipped, "MODEL/model.keras " + CHANGED),
    "10 GB": (sparse_and_signed, f"MODEL/model.keras {LARGE}10.0 GiB, where 4 GiB are the most"),
    "10 GB that the manifest hides": (sparse_and_lying, f"MODEL/model.keras {LARGE}10.0 GiB, where 4 GiB are the most"),
    "1 GB of records": (
        lambda folder: hostile.sparse(folder / "records.jsonl", 2**30),
        f"MODEL/records.jsonl {LARGE}1.0 GiB, where 0.062 GiB are the most",
    ),
    "1 GB of manifest": (sparse_manifest, f"MODEL/manifest.json {LARGE}1.0 GiB, where 0.062 GiB are the most"),
}


@pytest.mark.parametrize("case", CASES)
def test_refused(folder, refusals, case):
    spoil, expected = CASES[case]
    spoil(folder)
    messages = refusals(folder, *(name for name in EVERYTHING if name != "inspect"))
    assert len(messages) == 1 and messages.pop().startswith(expected)
    # It lists more that is wrong, where there is more.
    assert any(message.startswith(expected) for message in refusals(folder, "inspect"))


def test_each_case_has_a_message_of_its_own():
    expected = [message for _, message in CASES.values()]
    twice = {"MODEL/model.keras " + CHANGED, CASES["10 GB"][1]}
    assert {message for message in expected if expected.count(message) > 1} == twice


@pytest.mark.parametrize(
    "file",
    [
        "config.json",
        "manifest.json",
        "model.keras",
        "paired.safetensors",
        "records.jsonl",
        "saved_model/assets.extra/tf_serving_warmup_requests",
        "saved_model/fingerprint.pb",
        "saved_model/saved_model.pb",
        "saved_model/variables/variables.data-00000-of-00001",
        "saved_model/variables/variables.index",
    ],
)
@pytest.mark.parametrize("share", [0, 0.5])
def test_truncated(folder, refusals, file, share):
    whole = (folder / file).read_bytes()
    (folder / file).write_bytes(whole[: int(len(whole) * share)])
    expected = DAMAGED if file == "manifest.json" else f"MODEL/{file} {CHANGED}"
    messages = refusals(folder, *EVERYTHING)
    assert any(message.startswith(expected) for message in messages)
    messages = refusals(folder, *(name for name in EVERYTHING if name != "inspect"))
    assert len(messages) == 1 and messages.pop().startswith(expected)


def test_all_files_of_a_model_folder_are_truncated_above(good_folder):
    files = {file.relative_to(good_folder).as_posix() for file in good_folder.rglob("*") if file.is_file()}
    (marks,) = (mark for mark in test_truncated.pytestmark if mark.args[0] == "file")
    assert files - {"README.md"} == set(marks.args[1])  # the card is the user's to edit


# What is signed, but nonsense: the manifest fits


@pytest.mark.parametrize(
    "file, content, loaders, expected",
    [
        ("config.json", "{", ("load", "export", "evaluate", "load_encoder"), "MODEL/config.json is damaged: "),
        ("config.json", "[]", ("load", "load_encoder"), "MODEL/config.json is damaged: it does not say what kind"),
        ("config.json", '{"a":' * 10**5, ("load", "load_encoder"), "MODEL/config.json is damaged: maximum recursion"),
        ("config.json", "\x80", ("load", "load_encoder"), "MODEL/config.json is damaged: "),
        ("config.json", '{"kind": "pickle"}', ("load", "inspect"), "MODEL/config.json is damaged: it does not say"),
        ("config.json", '{"kind": "encoder"}', ("load_encoder",), "MODEL/config.json is damaged: "),
        ("records.jsonl", "{", ("load", "inspect"), "MODEL/records.jsonl, line 1, is damaged: "),
        ("records.jsonl", '{"a":' * 10**5, ("load", "inspect"), "MODEL/records.jsonl, line 1, is damaged: "),
        ("records.jsonl", "1" * 5000, ("load", "inspect"), "MODEL/records.jsonl, line 1, is damaged: "),
        ("paired.safetensors", b"\xff" * 64, ("load_encoder",), "MODEL/paired.safetensors "),
        ("paired.safetensors", b"", ("load_encoder",), "MODEL/paired.safetensors cannot be read: "),
        ("saved_model/saved_model.pb", b"x", ("load_saved_model", "inspect"), "MODEL/saved_model/saved_model.pb is d"),
    ],
)
def test_signed_nonsense(folder, refusals, file, content, loaders, expected):
    replaced(folder, file, content)
    hostile.signed(folder)
    for message in refusals(folder, *loaders):
        assert message.startswith(expected), message


# A SavedModel in a model folder


def test_a_hostile_saved_model_in_a_signed_folder(folder, marker, refusals, capsys, tmp_path):
    """It would act on being loaded; nothing that reads the folder loads it."""
    shutil.rmtree(folder / "saved_model")

    def initialize(x):
        import tensorflow as tf

        tf.raw_ops.WriteFile(filename=str(marker), contents="was here")
        return x

    hostile.save(folder / "saved_model", acting=hostile.Acting(initialize))
    hostile.signed(folder)
    (loaded,) = refusals(folder, "load_saved_model")
    assert re.fullmatch(r"MODEL/saved_model is not safe to load: the operation WriteFile in the function \S+\.", loaded)
    (inspected,) = refusals(folder, "inspect")
    assert inspected.startswith("MODEL/saved_model/saved_model.pb: the operation WriteFile in the function ")
    acl_tf.load(folder)
    load_encoder(folder)
    assert run(["export", str(folder), str(tmp_path / "out")]) == 0
    assert not marker.exists()
    import tensorflow as tf

    tf.saved_model.load(str(folder / "saved_model"))
    assert marker.exists()


def test_inspect_looks_at_every_saved_model(folder, marker, refusals):
    hostile.save(folder / "saved_model" / "assets.extra" / "deep", hostile.write(marker))
    hostile.save(folder / ".hidden", hostile.write(marker))
    hostile.signed(folder)
    places = {message.split("/saved_model.pb: ")[0] for message in refusals(folder, "inspect")}
    assert places == {"MODEL/saved_model/assets.extra/deep", "MODEL/.hidden"}


def test_nothing_is_read_of_a_folder_that_leads_elsewhere(folder, refusals):
    (folder / "records.jsonl").unlink()
    (folder / "records.jsonl").symlink_to("/dev/zero")
    assert refusals(folder, *EVERYTHING) == {LINK + "'records.jsonl'"}


def test_several_things_are_listed(folder, refusals, marker):
    hostile.save(folder / "other", hostile.write(marker))
    hostile.rewritten(folder / "model.keras", lambda members: members.update({"config.json": b"["}))
    found = sorted(refusals(folder, "inspect"))
    assert [message[:40] for message in found] == [
        "MODEL/model.keras is damaged: its config",
        "MODEL/other/fingerprint.pb is not in the",
        "MODEL/other/saved_model.pb: the operatio",
    ]


# The cache of the Hub, where links to blobs are what they should be


@pytest.fixture
def snapshot(good_folder, tmp_path) -> Path:
    """As huggingface_hub stores it."""
    repository = tmp_path / "models--user--name"
    folder = repository / "snapshots" / "abc"
    (repository / "blobs").mkdir(parents=True)
    for number, file in enumerate(file for file in good_folder.rglob("*") if file.is_file()):
        shutil.copy(file, repository / "blobs" / str(number))
        at = folder / file.relative_to(good_folder)
        at.parent.mkdir(parents=True, exist_ok=True)
        at.symlink_to(os.path.relpath(repository / "blobs" / str(number), at.parent))
    return folder


def test_links_to_blobs(snapshot):
    verify(snapshot)
    assert acl_tf.load(snapshot).config["origin"] == {"repo_id": "user/name", "revision": "abc"}


def test_a_cache_behind_a_link(snapshot, tmp_path):
    (tmp_path / "cache").symlink_to(tmp_path)
    verify(tmp_path / "cache" / "models--user--name" / "snapshots" / "abc")


@pytest.mark.parametrize("target", ["/etc/passwd", "../../../other", "../../snapshots", "../../blobs/../../other"])
def test_links_to_elsewhere(snapshot, tmp_path, target):
    (tmp_path / "other").write_text("not of this repository")
    (snapshot / "notes.txt").symlink_to(target)
    with pytest.raises(UnsafeModelError) as error:
        verify(snapshot)
    assert str(error.value) == f"{snapshot} holds a symbolic link; copy the file instead. Received: 'notes.txt'"


def test_blobs_that_are_a_link(snapshot, tmp_path):
    """Else whoever packs such a folder chooses where its files are read."""
    blobs = snapshot.parent.parent / "blobs"
    blobs.rename(tmp_path / "elsewhere")
    blobs.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnsafeModelError, match="holds a symbolic link; copy the file instead"):
        verify(snapshot)


def test_a_folder_that_is_only_called_like_a_snapshot(folder, tmp_path):
    """Outside of a cache, a file that the manifest does not name is refused."""
    place = tmp_path / "snapshots" / "abc"
    shutil.copytree(folder, place)
    (place / "extra").touch()
    with pytest.raises(Exception, match="extra is not in the manifest"):
        verify(place)


# The parts


def test_names_that_are_let_through():
    check_names(["model.keras", "saved_model/variables/variables.data-00000-of-00001", "a..b", ".hidden", "-"], "it")


def test_files_that_are_let_through(folder):
    (folder / "empty").mkdir()
    hostile.sparse(folder / "four", 4 * 2**30)
    check_files(folder)


def test_a_link_to_the_folder_itself_is_the_users(folder, tmp_path):
    (tmp_path / "mine").symlink_to(folder)
    assert acl_tf.load(tmp_path / "mine").config["kind"] == "classifier"


def test_what_acl_tf_writes_is_safe(folder, capsys):
    write_manifest(folder)
    assert run(["inspect", str(folder)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "verdict     safe: what acl-tf loads of it only computes"
