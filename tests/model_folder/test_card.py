"""The model card, as the Hub's own client reads it."""

import json

import pytest
import yaml
from huggingface_hub import ModelCard

from acl_tf.errors import ModelFolderError
from acl_tf.model_folder.card import card, merged, users_text
from tests.report.folders import corrupted, record, robust

VERSIONS = {"acl_tf": "0.1.0", "tensorflow": "2.21.0", "keras": "3.15.1", "python": "3.11.7"}
CONFIG = {
    "kind": "classifier",
    "arch": "resnet18",
    "width": 0.5,
    "stem": "cifar",
    "input_shape": [16, 24, 3],
    "features": 256,
    "classes": ["ape", "cat|dog", "<b>"],
    "branch": "adversarial",
    "batch_norm": "paired",
    "recipe": {
        "method": {"name": "trades", "mode": "full"},
        "encoder": {"source": "/home/alice/runs/ds/model"},
        "data": {"dataset": "cifar10"},
        "training": {"epochs": 25, "seed": 3},
        "attack": {"epsilon": 8 / 255, "step_size": 2 / 255, "steps": 10},
    },
    "versions": VERSIONS,
}
ENCODER = {**CONFIG, "kind": "encoder", "classes": None, "recipe": {"objective": {"variant": "ds"}}}
RECORDS = [
    record(value=0.8125, dataset="cifar10"),
    robust(0.451, dataset="cifar10"),
    robust(0.2, {"norm": "l2", "epsilon": 0.5}, dataset="cifar10"),
    corrupted("fog", 3, 0.7, dataset="digits"),
]


def text_of(markdown: str) -> str:
    """Returns a card without its metadata."""
    return markdown.split("---\n", 2)[2]


def metadata(markdown: str) -> dict:
    return yaml.safe_load(markdown.split("---\n", 2)[1])


# What it says


def test_the_hub_reads_the_results_back():
    data = ModelCard(card(CONFIG, RECORDS, "alice/model")).data
    assert (data.model_name, data.library_name, data.pipeline_tag) == ("alice/model", "keras", "image-classification")
    assert data.datasets == ["uoft-cs/cifar10"] and "acl-tf" in data.tags
    results = {result.metric_name: result for result in data.eval_results}
    assert {name: result.metric_value for name, result in results.items()} == {
        "Accuracy": 0.8125,
        "Robust accuracy (PGD-20 l∞ 8/255, 1 restart)": 0.451,
        "Robust accuracy (PGD-20 l2 0.5, 1 restart)": 0.2,
        "Corruption accuracy (fog, severity 3)": 0.7,
    }
    attacked = results["Robust accuracy (PGD-20 l2 0.5, 1 restart)"]
    assert attacked.metric_args | {"norm": "l2", "epsilon": 0.5, "steps": 20, "n": 360} == attacked.metric_args
    assert attacked.metric_type == "accuracy"
    assert (attacked.dataset_type, attacked.dataset_name, attacked.dataset_split) == (
        "uoft-cs/cifar10",
        "cifar10",
        "test",
    )
    assert results["Corruption accuracy (fog, severity 3)"].dataset_type == "digits"


def test_of_an_encoder():
    markdown = card(ENCODER, [], "alice/model")
    data = ModelCard(markdown).data
    assert data.pipeline_tag == "image-feature-extraction" and data.eval_results is None
    for part in (
        "An image encoder",
        "images of 24×16 pixels",
        "256 features",
        "| pre-training | ds |",
        "features = model",
    ):
        assert part in markdown
    assert "Nothing was measured yet." in markdown


def test_of_a_classifier():
    markdown = card(CONFIG, RECORDS, "alice/model")
    for part in (
        "# model\n",
        "An image classifier",
        "3 classes, resnet18 of width 0.5",
        "| attack in training | PGD, l∞ 8/255, 10 steps of 2/255 |",
        "| fine-tuning | trades |",
        "| robust_accuracy | PGD-20 l∞ 8/255, 1 restart | 45.10 | 360 | cifar10/test | 0 |",
        'acl_tf.load("alice/model")',
        'hf_hub_download("alice/model", "model.keras")',
        "(batch, 16, 24, 3)",
        "## Intended use and limits",
        "## Citation",
    ):
        assert part in markdown, part


def test_names_of_classes_do_not_break_the_table():
    markdown = card(CONFIG, [], "alice/model")
    assert "| classes | ape, cat\\|dog, &lt;b> |" in markdown


def test_no_folders_of_this_machine():
    assert "/home" not in card(CONFIG, RECORDS, "alice/model") and "alice/runs" not in card(CONFIG, RECORDS)
    assert "source: model" in card(CONFIG, RECORDS)


def test_the_same_again_is_the_same():
    first = card(CONFIG, RECORDS, "alice/model")
    assert first == card(CONFIG, RECORDS, "alice/model") == card(CONFIG, RECORDS, previous=first)
    assert first == card(CONFIG, RECORDS, "alice/model", card(CONFIG, RECORDS, "alice/model", first))
    assert json.loads(json.dumps(metadata(first))) == metadata(first)  # nothing that YAML alone knows, as dates
    assert users_text(first) == ""


def test_a_new_name_and_new_records_replace_the_old():
    markdown = card(CONFIG, RECORDS, "alice/other", card(CONFIG, RECORDS[:1], "alice/model"))
    assert markdown == card(CONFIG, RECORDS, "alice/other")
    assert "alice/model" not in markdown


# What the user wrote


def test_text_above_and_below_stays_where_it_is():
    front, body = card(CONFIG, RECORDS[:1], "alice/model").split("---\n", 2)[1:]
    previous = f"---\n{front}---\n# Mine\n\nAbove — ümlaut.\n\n{body}\n## Mine too\n\n---\nBelow.\n"
    assert users_text(previous)
    markdown = card(CONFIG, RECORDS, "alice/model", previous)
    assert text_of(markdown).startswith("# Mine\n\nAbove — ümlaut.\n\n<!-- acl-tf begin")
    assert markdown.endswith("<!-- acl-tf end -->\n\n## Mine too\n\n---\nBelow.\n")
    assert "45.10" in markdown and "45.10" not in previous
    assert card(CONFIG, RECORDS, "alice/model", markdown) == markdown


@pytest.mark.parametrize("previous", ["# By hand\n\nAll mine.", "---\nlicense: mit\n---\n\n# By hand\n\nAll mine.\n\n"])
def test_a_card_by_hand_is_kept_below(previous):
    assert users_text(previous)
    markdown = card(CONFIG, RECORDS, "alice/model", previous)
    assert markdown.endswith("<!-- acl-tf end -->\n\n# By hand\n\nAll mine.\n")
    assert metadata(markdown).get("license") == ("mit" if "license" in previous else None)
    assert card(CONFIG, RECORDS, "alice/model", markdown) == markdown


def test_the_users_metadata_stay_and_the_generated_are_renewed():
    front, body = card(CONFIG, RECORDS[:1], "alice/model").split("---\n", 2)[1:]
    mine = {**yaml.safe_load(front), "license": "mit", "language": ["en"], "library_name": "wrong"}
    mine["tags"] += ["mine"]
    previous = f"---\n{yaml.safe_dump(mine)}---\n{body}"
    data = metadata(card(CONFIG, RECORDS, "alice/model", previous))
    assert (data["license"], data["language"], data["library_name"]) == ("mit", ["en"], "keras")
    assert data["tags"].count("acl-tf") == 1 and data["tags"][-1] == "mine"
    assert len(ModelCard(card(CONFIG, RECORDS, "alice/model", previous)).data.eval_results) == len(RECORDS)


def test_lines_that_end_as_on_windows():
    front, body = card(CONFIG, RECORDS[:1], "alice/model").split("---\n", 2)[1:]
    previous = f"---\n{front}license: mit\n---\n{body}\nMine.\n".replace("\n", "\r\n")
    markdown = card(CONFIG, RECORDS, "alice/model", previous)
    assert markdown.count("acl-tf begin") == markdown.count("## Citation") == markdown.count("Mine.") == 1
    assert metadata(markdown)["license"] == "mit"


@pytest.mark.parametrize("front", ["", "[1, 2]\n", "just text\n"])
def test_metadata_of_another_form(front):
    markdown = card(CONFIG, RECORDS, "alice/model", f"---\n{front}---\nMine.\n")
    assert markdown.endswith("\nMine.\n") and metadata(markdown)["library_name"] == "keras"


def test_metadata_that_are_no_yaml():
    with pytest.raises(ModelFolderError) as error:
        card(CONFIG, RECORDS, "alice/model", "---\nlicense: [mit\n---\nMine.\n")
    assert str(error.value).startswith("The metadata at the head of README.md are not YAML: ")
    assert "\n" not in str(error.value)


def test_a_byte_order_mark_is_no_text():
    assert metadata(card(CONFIG, RECORDS, previous="\ufeff---\nlicense: mit\n---\nMine.\n"))["license"] == "mit"


def test_two_cards_become_one():
    there = "---\nlicense: mit\nlanguage: en\n---\nThere.\n"
    both = merged(there, "---\nlicense: bsd\n---\nHere.\n")
    assert (metadata(both), users_text(both)) == ({"license": "bsd", "language": "en"}, "Here.")
    assert users_text(merged(there, card(CONFIG, RECORDS))) == "There."


# What it says of robustness


def with_recipe(recipe: dict, **more: bool) -> str:
    return card({**CONFIG, "recipe": recipe, **more}, [record()])


ATTACK = {"epsilon": 8 / 255, "step_size": 2 / 255, "steps": 10}


@pytest.mark.parametrize(
    "recipe, row, says",
    [
        ({"method": {"name": "trades"}, "attack": ATTACK}, "PGD, l∞ 8/255, 10 steps of 2/255", "was trained against"),
        ({"objective": {"variant": "ds"}, "attack": ATTACK}, "PGD, l∞ 8/255, 10 steps of 2/255", "was trained against"),
        ({"objective": {"variant": "s2s"}, "attack": ATTACK}, "none", "was not trained against"),
        ({"method": {"name": "standard", "mode": "full"}, "attack": ATTACK}, "none", "was not trained against"),
        ({"method": {"name": "standard", "mode": "linear"}, "attack": ATTACK}, "none", "trained on clean images"),
        ({"imported_from": "acl.pt"}, None, "is not recorded here"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_it_claims_no_training_that_was_not(recipe, row, says):
    markdown = with_recipe(recipe)
    assert f"| attack in training | {row} |" in markdown if row else "attack in training" not in markdown
    assert says in markdown and ("adversarial-robustness" in metadata(markdown)["tags"]) == (
        says == "was trained against"
    )
    assert "upper bound" not in markdown  # nothing was attacked


@pytest.mark.parametrize(
    "attack, row",
    [
        ({"name": "pgd", "norm": "l2", "epsilon": 0.5, "step_size": None, "steps": 10}, "PGD, l2 0.5, 10 steps"),
        ({"name": "pgd", "norm": "linf", **ATTACK, "start": "normal"}, "PGD, l∞ 8/255, 10 steps of 2/255"),
        ({"name": "fgsm", "norm": "linf", "epsilon": 4 / 255, "steps": 1}, "FGSM, l∞ 4/255, 1 step"),
        ({"name": "frank-wolfe", "epsilon": 12.0, "steps": 30}, "Frank–Wolfe, 12, 30 steps"),
        ({"name": "mine", "strength": 3}, "mine"),
    ],
)
def test_the_attack_of_a_later_version(attack, row):
    """The folder says whether the model was attacked; its method may be a plug-in's, of any name."""
    recipe = {"method": {"name": "standard"}, "attack": attack}
    attacked, not_attacked = with_recipe(recipe, attacked=True), with_recipe(recipe, attacked=False)
    assert f"| attack in training | {row} |" in attacked and "was trained against perturbations" in attacked
    assert "| attack in training | none |" in not_attacked and "was not trained against" in not_attacked
    tags = [metadata(markdown)["tags"] for markdown in (attacked, not_attacked)]
    assert ["adversarial-robustness" in tag for tag in tags] == [True, False]


def test_the_method_is_cited():
    assert "zhang2019theoretically" in with_recipe({"method": {"name": "trades"}, "attack": ATTACK})
    assert "zhang2019theoretically" not in with_recipe({"method": {"name": "at"}, "attack": ATTACK})


def test_a_folder_that_says_little():
    assert "An image classifier made with acl-tf" in card({"kind": "classifier"}, [])


def test_the_users_metadata_keep_their_text():
    """YAML 1.1 takes Norwegian for false, and version 1.10 for 1.1."""
    lines = ["license: mit", "language: no", "model_version: 1.10", "released: 2026-11-30", "inference: true", "n: 012"]
    before = "---\n" + "\n".join(lines) + "\n---\nMy words.\n"
    once = card(ENCODER, [], "user/name", before)
    assert set(lines) < set(once.split("---")[1].splitlines())
    assert card(ENCODER, [], "user/name", once) == once


def test_a_card_of_many_beginnings():
    """It would take days if every beginning looked for every end."""
    begin = "<!-- acl-tf begin a/b: -->\n"
    assert users_text(begin * 20_000) == (begin * 20_000).strip()
    assert users_text(f"above\n{begin}made\n<!-- acl-tf end -->\nbelow\n{begin}") == f"above\nbelow\n{begin}".strip()
