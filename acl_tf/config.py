"""Configurations: typed, validated, read from YAML and written back. Each command's own lies beside its code."""

import functools
import re
from collections.abc import Iterable, Mapping
from fractions import Fraction
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, TypeVar, get_args

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model

from acl_tf.errors import UsageError
from acl_tf.nested import flat
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


AnyConfig = TypeVar("AnyConfig", bound=Section)
Settings = Mapping[str, Any]
# The classes of the sections of a configuration that depend on what it chooses; None: there is no such section then.
Sections = Mapping[str, type[Section] | None]


class CommandConfig(Section):
    """The configuration of a command; `command` names the folder of its recipes."""

    command: ClassVar[str]

    @classmethod
    def sections(cls, settings: Settings) -> Sections:
        """Returns the classes of the sections whose keys depend on what the settings choose.

        Args:
            settings: Nested mappings, as read from YAML.

        Raises:
            UsageError: If there is no such choice.
        """
        return {}

    @classmethod
    def published(cls, settings: Settings) -> Settings:
        """Returns the defaults of what the settings choose, for where they and the recipe say nothing."""
        return {}

    @classmethod
    def chosen(cls, settings: Settings) -> list[Any]:
        """Returns the classes and functions that the settings choose by name; a plug-in may have brought them."""
        return []


AnyCommandConfig = TypeVar("AnyCommandConfig", bound=CommandConfig)


def unknown_name(key: str, name: Any, registry: Registry) -> UsageError:
    """Returns the error that the value of a key is no name of a registry."""
    names = list(registry)
    return UsageError(
        f"Configuration key {key}: expected one of {', '.join(names)}{nearest(str(name), names) or '.'} "
        f"Received: {name!r}"
    )


class Choice(NamedTuple):
    """A section that chooses a class by its name; its other keys are that class's `Settings`.

    Attributes:
        registry: Names, and the classes that they stand for.
        section: Name of the section.
        default: Name of the class where the settings name none.
        key: Key of the name.
        shared: Further keys, of all classes.
    """

    registry: Registry
    section: str
    default: str
    key: str = "name"
    shared: tuple[type[Section], ...] = ()

    def name_in(self, settings: Settings) -> str:
        """Returns the name that the settings choose, or the default.

        Raises:
            UsageError: If there is no class of that name.
        """
        section = settings.get(self.section)
        name = section.get(self.key, self.default) if isinstance(section, Mapping) else self.default
        if name not in self.registry:
            raise unknown_name(f"{self.section}.{self.key}", name, self.registry)
        return name

    def class_in(self, settings: Settings) -> Any:
        """Returns the class that the settings choose; raises as `name_in`."""
        return self.registry[self.name_in(settings)]

    def section_in(self, settings: Settings) -> type[Section]:
        """Returns the class of the section: the name, and the keys of the chosen class; raises as `name_in`."""
        return named_section(self.key, self.name_in(settings), (self.class_in(settings).Settings, *self.shared))


@functools.cache
def named_section(key: str, name: str, parts: tuple[type[Section], ...]) -> type[Section]:
    """Returns a section that begins with a name, followed by the keys of others.

    Args:
        key: Key of the name.
        name: Its only value, and default.
        parts: Sections whose keys follow, the last ones first.
    """
    named: dict[str, Any] = {key: (Literal[name], name)}
    head = create_model("NamedSection", __base__=Section, **named)
    return create_model(parts[0].__qualname__, __base__=(*parts, head))


def recipe_names(command: str = "pretrain") -> list[str]:
    """Returns the names of the recipes that come with acl-tf for a command: `pretrain`, `finetune`, …."""
    folder = resources.files("acl_tf.configs").joinpath(command.replace("-", "_"))
    files = folder.iterdir() if folder.is_dir() else ()  # a command need not have any
    return sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))


def read_settings(source: str, command: str = "pretrain") -> Settings:
    """Reads a YAML file, or the recipe of that name.

    Args:
        source: Path of a file, or name of a recipe.
        command: Name of the command that the recipe is for.

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
    kind: type[Any] = config
    if issubclass(config, CommandConfig):
        sections = config.sections(settings)
        _check_sections(config, sections, settings)
        kind = _with_sections(config, tuple(sections.items()))
        needed: Settings = {name: {} for name, section in sections.items() if section is not None}
        published, _ = suited(config, config.published(settings), settings)
        settings = merge(merge(needed, published), settings)
    try:
        return kind.model_validate(settings)
    except ValidationError as error:
        raise UsageError(_explain(kind, error.errors()[0])) from error


def checked_settings(kind: type[AnyConfig], values: Settings) -> AnyConfig:
    """Returns the settings that keyword arguments give a class.

    Args:
        kind: The `Settings` of the class.
        values: The keyword arguments.

    Raises:
        ValueError: If one is unknown, missing, or out of range.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key, received = ".".join(map(str, first["loc"])), first["input"]
        if first["type"] == "extra_forbidden":
            keys = ", ".join(kind.model_fields) or "none"
            raise ValueError(f"`{key}` is no setting here; there are: {keys}. Received: {key}={received!r}") from error
        if first["type"] == "missing":
            raise ValueError(f"`{key}` must be given. Received: {', '.join(values) or 'no settings'}") from error
        raise ValueError(f"`{key}` must be {_expected(first)}. Received: {key}={received!r}") from error


def arguments_of(kind: Any, section: Section) -> dict[str, Any]:
    """Returns the keyword arguments that a section holds for a class: the keys of the class's `Settings`."""
    return {key: getattr(section, key) for key in kind.Settings.model_fields}


def _check_sections(config: type[Section], sections: Sections, settings: Settings) -> None:
    unused = [name for name, section in sections.items() if section is None]
    for name in unused:
        if settings.get(name) is not None:
            known_keys = ", ".join(key for key in config.model_fields if key not in unused)
            raise UsageError(
                f"Unknown configuration key {name}, a section that nothing uses of what is chosen. "
                f"Known there: {known_keys}. Received: {settings[name]!r}"
            )


@functools.cache
def _with_sections(config: type[Any], sections: tuple[tuple[str, type[Section] | None], ...]) -> type[Any]:
    """Returns the configuration whose sections are of these classes; it is a subclass."""
    fields: dict[str, Any] = {name: (None, None) if kind is None else (kind, ...) for name, kind in sections}
    return create_model(config.__name__, __base__=config, **fields) if fields else config


def suited(config: type[CommandConfig], settings: Settings, chosen: Settings) -> tuple[Settings, list[str]]:
    """Returns settings without what is not for the classes that others choose, and the keys that were left out.

    A recipe for one method may thus be the base of another method's configuration.

    Args:
        config: The class that will be built.
        settings: Nested mappings, of a recipe. A key that is wrong in the recipe itself stays, so that `build` says so.
        chosen: Settings that choose.
    """
    before, after = config.sections(settings), config.sections(chosen)
    kept: dict[str, Any] = dict(settings)
    left_out = []
    for name, section in after.items():
        if isinstance(settings.get(name), Mapping) and section is not before[name]:
            own, keys = _keys(before[name]), _keys(section)
            odd = [key for key in settings[name] if key in own and key not in keys]
            left_out += [f"{name}.{key}" for key in odd]
            kept[name] = {key: value for key, value in settings[name].items() if key not in odd}
            if section is None and not kept[name]:
                del kept[name]
    return kept, left_out


def _keys(section: type[Section] | None) -> Iterable[str]:
    return section.model_fields if section is not None else ()


def without_unused(config: type[CommandConfig], settings: Settings) -> Settings:
    """Returns the settings of a run of acl-tf 0.1 without the keys that nothing used, which that version wrote too."""
    kept: dict[str, Any] = dict(settings)
    for name, section in config.sections(settings).items():
        if section is None:
            kept.pop(name, None)
        elif isinstance(settings.get(name), Mapping):
            kept[name] = {key: value for key, value in settings[name].items() if key in section.model_fields}
    return kept


def to_yaml(config: Section) -> str:
    """Returns the whole configuration as YAML that `read_settings` and `build` turn into an equal one."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def differences(one: Section, other: Section) -> list[str]:
    """Returns the dotted keys at which two configurations differ."""
    mine, theirs = flat(one.model_dump()), flat(other.model_dump())
    return [key for key in dict.fromkeys([*mine, *theirs]) if mine.get(key) != theirs.get(key)]


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
    expected = _expected(error)
    if error["type"] == "literal_error":
        expected += nearest(str(received), re.findall("'([^']+)'", expected))
    if error["type"] in ("model_type", "missing"):
        expected = "a mapping of keys to values" if error["type"] == "model_type" else "a value"
    end = "" if expected.endswith("?") else "."
    return f"Configuration key {key}: expected {expected}{end} Received: {received!r}"


def _expected(error: Any) -> str:
    return error["msg"].removeprefix("Value error, ").removeprefix("Input should be ")


def _section(config: type[Section], location: list[str]) -> type[Section]:
    for name in location:
        annotation = config.model_fields[name].annotation
        config = next(kind for kind in (annotation, *get_args(annotation)) if isinstance(kind, type))
    return config
