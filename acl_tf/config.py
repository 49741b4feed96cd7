"""Configurations: typed, validated, read from YAML and written back. Each command's own lies beside its code."""

import re
from collections.abc import Iterable, Mapping
from fractions import Fraction
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar, get_args

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from acl_tf.errors import UsageError
from acl_tf.registry import Registry, nearest


def _number(value: Any) -> Any:
    """Reads what people write for numbers in YAML: `8/255`, and `1e-6`, which YAML takes for text."""
    if isinstance(value, str):
        try:
            return float(Fraction(value)) if "/" in value else float(value)
        except (ValueError, ZeroDivisionError, OverflowError):
            return value
    return value


def known(registry: Registry) -> Any:
    """Returns a validator that takes the names of a registry only."""

    def check(value: Any) -> Any:
        registry_names = list(registry)
        if value not in registry_names:
            hint = nearest(str(value), registry_names)
            raise ValueError(f"one of {', '.join(registry_names)}{hint}")
        return value

    return BeforeValidator(check)


def ascending(value: tuple[float, float]) -> tuple[float, float]:
    """Validates that two numbers are in ascending order."""
    if value[0] > value[1]:
        raise ValueError("two numbers in ascending order")
    return value


def regular_expression(value: str) -> str:
    """Validates that a text is a regular expression."""
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"a regular expression, but {error}") from error
    return value


Number = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]
NonNegative = Annotated[Number, Field(ge=0)]
Positive = Annotated[Number, Field(gt=0)]
Probability = Annotated[Number, Field(ge=0, le=1)]
as_tuple = BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)
Interval = Annotated[tuple[Positive, Positive], as_tuple, AfterValidator(ascending)]
Share = Annotated[Number, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A part of a configuration: unknown keys and wrong types are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class CommandConfig(Section):
    """The configuration of a command; `command` names the folder of its recipes."""

    command: ClassVar[str]


AnyConfig = TypeVar("AnyConfig", bound=Section)
AnyCommandConfig = TypeVar("AnyCommandConfig", bound=CommandConfig)
Settings = Mapping[str, Any]


def recipe_names(command: str = "pretrain") -> list[str]:
    """Returns the names of the recipes that come with acl-tf for a command: `pretrain`, `finetune`, …."""
    folder = resources.files("acl_tf.configs").joinpath(command.replace("-", "_"))
    files = folder.iterdir() if folder.is_dir() else ()  # a command need not have any
    return sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))


def read_settings(source: str, command: str = "pretrain") -> Settings:
    """Reads a YAML file, or the recipe of that name.

    Args:
        source: Path of a file, or name of a recipe.
        command: Whose recipe.

    Raises:
        UsageError: If there is neither, or if it is no YAML mapping.
    """
    path = Path(source)
    if path.is_file():
        text = path.read_bytes()
    elif source in (names := recipe_names(command)):
        text = resources.files("acl_tf.configs").joinpath(command.replace("-", "_"), f"{source}.yaml").read_bytes()
    else:
        raise UsageError(
            f"No configuration file and no recipe of that name{nearest(source, names) or '.'} "
            f"Recipes: {', '.join(names)}. Received: {source!r}"
        )
    settings = _yaml(text, source) or {}
    if not isinstance(settings, dict):
        raise UsageError(f"{source} must be a YAML mapping of sections. Received: a {type(settings).__name__}")
    return settings


def assignments(pairs: Iterable[str]) -> Settings:
    """Reads `section.key=value` pairs, values as in YAML.

    Raises:
        UsageError: If a pair has no `=` or no key.
    """
    settings: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"Expected section.key=value, for example training.epochs=10. Received: {pair!r}")
        settings = merge(settings, nested(key, _yaml(value, pair)))
    return settings


def nested(key: str, value: Any) -> Settings:
    """Returns the settings that set one dotted key."""
    for name in reversed(key.split(".")):
        value = {name: value}
    return value


def merge(below: Settings, above: Settings) -> dict[str, Any]:
    """Returns `below` with everything that `above` sets, section by section."""
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def build(config: type[AnyConfig], settings: Settings) -> AnyConfig:
    """Validates settings.

    Args:
        config: The class to build.
        settings: Nested mappings, as read from YAML.

    Returns:
        The configuration, with defaults where nothing is set.

    Raises:
        UsageError: At the first wrong key or value: the key, what was expected, what was received, the nearest name.
    """
    try:
        return config.model_validate(settings)
    except ValidationError as error:
        raise UsageError(_explain(config, error.errors()[0])) from error


def to_yaml(config: Section) -> str:
    """Returns the whole configuration as YAML that `read_settings` and `build` turn into an equal one."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def differences(one: Section, other: Section, prefix: str = "") -> list[str]:
    """Returns the dotted keys at which two configurations differ."""
    keys = []
    for name in type(one).model_fields:
        mine, theirs = getattr(one, name), getattr(other, name)
        if isinstance(mine, Section):
            keys += differences(mine, theirs, f"{prefix}{name}.")
        elif mine != theirs:
            keys.append(f"{prefix}{name}")
    return keys


def _yaml(text: bytes | str, source: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"{source} is not valid YAML: {' '.join(str(error).split())}") from error


def _explain(config: type[Section], error: Any) -> str:
    """Turns pydantic's error into one line in our words."""
    location = [str(part) for part in error["loc"]]
    key, received = ".".join(location), error["input"]
    if error["type"] in ("extra_forbidden", "invalid_key"):
        known = list(_section(config, location[:-1]).model_fields)
        hint = nearest(location[-1], known) or "."
        return f"Unknown configuration key {key}{hint} Known there: {', '.join(known)}. Received: {received!r}"
    if not location:  # from a validator of the whole configuration, which names the key itself
        return error["msg"].removeprefix("Value error, ")
    expected = error["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if error["type"] == "literal_error":
        expected += nearest(str(received), re.findall("'([^']+)'", expected))
    if error["type"] in ("model_type", "missing"):
        expected = "a mapping of keys to values" if error["type"] == "model_type" else "a value"
    end = "" if expected.endswith("?") else "."
    return f"Configuration key {key}: expected {expected}{end} Received: {received!r}"


def _section(config: type[Section], location: list[str]) -> type[Section]:
    for name in location:
        annotation = config.model_fields[name].annotation
        config = next(kind for kind in (annotation, *get_args(annotation)) if isinstance(kind, type))
    return config
