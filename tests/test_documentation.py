"""The documentation names everything that a user can set, and names nothing that is not there."""

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from acl_tf.config import Choice, CommandConfig, Section, recipe_names
from acl_tf.finetune.config import FinetuneConfig
from acl_tf.finetune.semi_supervised_config import SemiSupervisedConfig
from acl_tf.pretrain.config import ATTACK, OBJECTIVE, OPTIMIZER, ORDER, PretrainConfig

CONFIGS = (PretrainConfig, FinetuneConfig, SemiSupervisedConfig)
CHOICES = {PretrainConfig: (OBJECTIVE, ATTACK, ORDER, OPTIMIZER)}
RECIPES = [(config.command, name) for config in CONFIGS for name in recipe_names(config.command)]

ROOT = Path(__file__).parents[1]
CONFIGURATION = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
# What says where things go.
GUIDES = ("CONTRIBUTING.md", "docs/architecture.md")


def keys(config: type[Section], prefix: str = "") -> list[str]:
    found = []
    for name, field in config.model_fields.items():
        section = isinstance(field.annotation, type) and issubclass(field.annotation, Section)
        found += keys(field.annotation, f"{prefix}{name}.") if section else [f"{prefix}{name}"]
    return found


def keys_of_choices(config: type[CommandConfig], choices: Iterable[Choice]) -> list[str]:
    """Returns the keys of the sections of every class that a configuration can choose."""
    found = []
    for choice in choices:
        for name in choice.registry:
            sections = config.sections({choice.section: {choice.key: name}})
            found += [key for section, kind in sections.items() if kind for key in keys(kind, f"{section}.")]
    return found


@pytest.mark.parametrize("config", CONFIGS)
def test_every_key_is_documented(config) -> None:
    choices = CHOICES.get(config, ())
    chosen = {choice.section for choice in choices} | set(config.sections({}))
    found = {key for key in keys(config) if key not in chosen} | set(keys_of_choices(config, choices))
    assert sorted(key for key in found if f"`{key}`" not in CONFIGURATION) == []


@pytest.mark.parametrize("command, name", RECIPES)
def test_every_recipe_is_documented(command, name) -> None:
    assert f"`{name}`" in CONFIGURATION


@pytest.mark.parametrize("command, name", RECIPES)
def test_every_recipe_says_where_it_comes_from(command, name) -> None:
    file = ROOT / "configs" / command.replace("-", "_") / f"{name}.yaml"
    header = file.read_text(encoding="utf-8").split("\n\n")[0]
    for part in ("# Paper:", "# Command:", "# Cost:", "# Expected:"):
        assert part in header


@pytest.mark.parametrize("page", GUIDES)
def test_every_file_that_a_guide_names_is_there(page) -> None:
    named = re.findall(r"`((?:acl_tf|cli|hub|configs|docs|tests)/[^`]*)`", (ROOT / page).read_text(encoding="utf-8"))
    files = [name for name in named if not re.search("NAME|COMMAND", name)]
    assert len(files) > 10
    assert [name for name in files if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("page", GUIDES)
def test_every_registry_that_a_guide_names_is_there(page) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    named = re.findall(r"`(\w+)` in\s+`([a-z_/]+\.py)`", text)
    assert len(named) > 8
    for name, file in named:
        found = re.search(rf"^(class |def )?{name}\b", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)
        assert found, f"{page} says that {name} is in {file}"
