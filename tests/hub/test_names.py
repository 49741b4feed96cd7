import pytest

from acl_tf.errors import UsageError
from acl_tf.hub.names import HubName, given_name, hub_name, repository_id


@pytest.mark.parametrize(
    "text, name",
    [
        ("alice/model", HubName("alice/model")),
        ("alice/model@v1.0", HubName("alice/model", "v1.0")),
        ("a-b_c/m.0-x@refs/pr/1", HubName("a-b_c/m.0-x", "refs/pr/1")),
    ],
)
def test_names(text, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert hub_name(text) == given_name(text) == name
    assert str(name) == text


@pytest.mark.parametrize(
    "text",
    [
        "model",
        "a/b/c",
        "./alice/model",
        "/alice/model",
        "~/model",
        "runs/ds",
        "alice/model.keras",
        "random:resnet18",
        "alice/m@",
        "",
    ],
)
def test_paths(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert hub_name(text) is None


def test_what_is_on_disk_is_not_on_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "alice").mkdir()
    for text in ("alice/model", "alice/model@v1"):
        assert hub_name(text) is None
        assert given_name(text)


@pytest.mark.parametrize("text", ["alice/model@v1", "alice", "alice/a..b", "alice/a--b", "alice/m.git", "alice/m-"])
def test_where_nothing_can_be_published(text):
    assert repository_id("alice/model") == "alice/model"
    with pytest.raises(UsageError) as error:
        repository_id(text)
    assert str(error.value).endswith(f"--tag gives the version. Received: {text!r}")
