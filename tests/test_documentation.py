"""The documentation names everything that a user can set."""

from pathlib import Path

import pytest

from acl_tf.config import Section, recipe_names
from acl_tf.finetune.config import FinetuneConfig
from acl_tf.finetune.semi_supervised_config import SemiSupervisedConfig
from acl_tf.pretrain.config import PretrainConfig

CONFIGS = (PretrainConfig, FinetuneConfig, SemiSupervisedConfig)
RECIPES = [(config.command, name) for config in CONFIGS for name in recipe_names(config.command)]

CONFIGURATION = (Path(__file__).parents[1] / "docs/configuration.md").read_text(encoding="utf-8")


def keys(config: type[Section], prefix: str = "") -> list[str]:
    found = []
    for name, field in config.model_fields.items():
        section = isinstance(field.annotation, type) and issubclass(field.annotation, Section)
        found += keys(field.annotation, f"{prefix}{name}.") if section else [f"{prefix}{name}"]
    return found


@pytest.mark.parametrize("config", CONFIGS)
def test_every_key_is_documented(config) -> None:
    assert [key for key in keys(config) if f"`{key}`" not in CONFIGURATION] == []


@pytest.mark.parametrize("command, name", RECIPES)
def test_every_recipe_is_documented(command, name) -> None:
    assert f"`{name}`" in CONFIGURATION


@pytest.mark.parametrize("command, name", RECIPES)
def test_every_recipe_says_where_it_comes_from(command, name) -> None:
    file = Path(__file__).parents[1] / "configs" / command.replace("-", "_") / f"{name}.yaml"
    header = file.read_text(encoding="utf-8").split("\n\n")[0]
    for part in ("# Paper:", "# Command:", "# Cost:", "# Expected:"):
        assert part in header
