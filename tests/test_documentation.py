"""The documentation names everything that a user can set."""

from pathlib import Path

from acl_tf.config import PretrainConfig, Section, recipe_names

CONFIGURATION = (Path(__file__).parents[1] / "docs/configuration.md").read_text(encoding="utf-8")


def keys(config: type[Section], prefix: str = "") -> list[str]:
    found = []
    for name, field in config.model_fields.items():
        section = isinstance(field.annotation, type) and issubclass(field.annotation, Section)
        found += keys(field.annotation, f"{prefix}{name}.") if section else [f"{prefix}{name}"]
    return found


def test_every_key_is_documented() -> None:
    assert [key for key in keys(PretrainConfig) if f"`{key}`" not in CONFIGURATION] == []


def test_every_recipe_is_documented() -> None:
    assert [name for name in recipe_names() if f"`{name}`" not in CONFIGURATION] == []


def test_every_recipe_says_where_it_comes_from() -> None:
    for name in recipe_names():
        text = (Path(__file__).parents[1] / f"configs/{name}.yaml").read_text(encoding="utf-8")
        header = text.split("\n\n")[0]
        for part in ("# Paper:", "# Command:", "# Cost:", "# Expected:"):
            assert part in header, (name, part)
