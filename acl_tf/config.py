"""The configuration of a run: typed, validated, read from YAML and written back."""

import re
from collections.abc import Iterable, Mapping
from fractions import Fraction
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from acl_tf.errors import UsageError
from acl_tf.models import BACKBONES
from acl_tf.pretrain import OBJECTIVES
from acl_tf.registry import Registry, nearest
from acl_tf.training import OPTIMIZERS

Precision = Literal["float32", "mixed_bfloat16", "mixed_float16", "float64"]


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


def _ascending(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] > value[1]:
        raise ValueError("two numbers in ascending order")
    return value


def _regular_expression(value: str) -> str:
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
Interval = Annotated[tuple[Positive, Positive], as_tuple, AfterValidator(_ascending)]
Share = Annotated[Number, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A part of a configuration: unknown keys and wrong types are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class CommandConfig(Section):
    """The configuration of a command; `command` names the folder of its recipes."""

    command: ClassVar[str]


class DataConfig(Section):
    """Which images to train on.

    Attributes:
        dataset: A TFDS name, `digits`, a folder of images, or an `.npz` file.
        data_dir: Where TFDS finds prepared data sets; none: `TFDS_DATA_DIR`, or TFDS' default.
        split: As TFDS names it.
        limit: Take the first so many images, in stored order.
        image_size: Height and width that images of a folder are resized to; none: they must all have one size.
        skip_bad_images: Leave out the unreadable images of a folder instead of stopping.
    """

    dataset: Annotated[str, Field(min_length=1)] = "cifar10"
    data_dir: str | None = None
    split: str = "train"
    limit: Count | None = None
    image_size: Annotated[int, Field(ge=8)] | None = None
    skip_bad_images: bool = False


class AugmentationConfig(Section):
    """SimCLR's augmentation; see `acl_tf.data.augment.Augmentation`."""

    crop_scale: Annotated[tuple[Share, Share], as_tuple, AfterValidator(_ascending)] = (0.1, 1.0)
    crop_ratio: Interval = (3 / 4, 4 / 3)
    flip: bool = True
    brightness: NonNegative = 0.4
    contrast: NonNegative = 0.4
    saturation: NonNegative = 0.4
    hue: Annotated[Number, Field(ge=0, le=0.5)] = 0.1
    jitter_probability: Probability = 0.8
    grayscale_probability: Probability = 0.2


class ModelConfig(Section):
    """The encoder and its projection head; see `acl_tf.models`."""

    arch: Annotated[str, known(BACKBONES)] = "resnet18"
    width: Positive = 1.0
    stem: Literal["cifar", "imagenet"] = "cifar"
    batch_norm: Literal["paired", "single"] = "paired"
    projection_blocks: Literal[2, 3] = 3


class ObjectiveConfig(Section):
    """What is contrasted; see `acl_tf.pretrain`. `alpha` weighs the adversarial stream of DS."""

    variant: Annotated[str, known(OBJECTIVES)] = "ds"
    alpha: NonNegative = 1.0
    temperature: Positive = 0.5


class AttackConfig(Section):
    """L∞ PGD on NT-Xent; `epsilon` and `step_size` in pixels of [0, 1], fractions such as `8/255` are read."""

    epsilon: NonNegative = 8 / 255
    step_size: NonNegative = 2 / 255
    steps: Annotated[int, Field(ge=0)] = 5


class OptimizerConfig(Section):
    """The optimiser and its schedule.

    Attributes:
        name: `lars`, `sgd` or `adamw`.
        learning_rate: At the end of the warm-up.
        momentum: Of LARS and SGD.
        weight_decay: Coupled in LARS and SGD, decoupled in AdamW.
        trust_coefficient: Of LARS.
        exclude: Regular expression of the variables that LARS leaves unscaled and without weight decay.
        warmup_epochs: Of linear warm-up from 0; none: min(10, 10 % of the epochs).
        final_learning_rate: Where the cosine ends.
    """

    name: Annotated[str, known(OPTIMIZERS)] = "lars"
    learning_rate: Positive = 5.0
    momentum: Annotated[Number, Field(ge=0, lt=1)] = 0.9
    weight_decay: NonNegative = 1e-6
    trust_coefficient: Positive = 1e-3
    exclude: Annotated[str, AfterValidator(_regular_expression)] | None = None
    warmup_epochs: NonNegative | None = None
    final_learning_rate: NonNegative = 1e-6


class RunConfig(Section):
    """How long to train, and how to keep track.

    Attributes:
        epochs: Passes over the images; the last incomplete batch of each is left out.
        precision: `float32`, `mixed_bfloat16`, `mixed_float16`, or `float64` (for tests).
        seed: Of initialisation, order and all randomness.
        checkpoint_steps: A checkpoint is written every so many steps, and at the end of every epoch.
        keep_checkpoints: How many of the newest checkpoints are kept; at least 2, so that one may break.
        log_steps: Metrics are written every so many steps, and at the end of every epoch.
        steps_per_call: How many steps TensorFlow takes at a time, which saves time where a step is short; signals and
            NaNs are noticed after them.
        jit: Whether XLA compiles the step; on one device. It draws other random numbers.
        tf32: Whether GPUs may round the factors of float32 products to 10 bits of mantissa, which is several times
            faster.
    """

    epochs: Count = 1000
    precision: Precision = "float32"
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    checkpoint_steps: Count = 500
    keep_checkpoints: Annotated[int, Field(ge=2)] = 3
    log_steps: Count = 10
    steps_per_call: Count = 1
    jit: bool = False
    tf32: bool = True


class TrainingConfig(RunConfig):
    """How long and how to train; `batch_size` is that of all devices together, in images."""

    batch_size: Annotated[int, Field(ge=2)] = 512


class PretrainTrainingConfig(TrainingConfig):
    """How long and how to pre-train.

    Attributes:
        micro_batches: In how many parts a batch passes the network, one after the other, to save memory; the negatives
            are those of the whole batch, the statistics of batch normalisation those of each part.
    """

    micro_batches: Count = 1


class PretrainConfig(CommandConfig):
    """A pre-training run. The defaults are ACL's for CIFAR-10.

    Reference: Jiang et al., "Robust Pre-Training by Adversarial Contrastive Learning", NeurIPS 2020, section 3.
    """

    command = "pretrain"

    data: DataConfig = DataConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    model: ModelConfig = ModelConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    attack: AttackConfig = AttackConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    training: PretrainTrainingConfig = PretrainTrainingConfig()

    @model_validator(mode="after")
    def _wide_networks_have_no_stem(self) -> "PretrainConfig":
        if self.model.arch.startswith("wrn") and self.model.stem != "cifar":
            raise ValueError(f"model.stem: expected cifar, the only one of {self.model.arch}. Received: imagenet")
        return self

    @model_validator(mode="after")
    def _parts_are_equal(self) -> "PretrainConfig":
        batch_size, parts = self.training.batch_size, self.training.micro_batches
        if batch_size % parts or batch_size < 2 * parts:
            raise ValueError(
                f"training.micro_batches: expected a divisor of the batch size, {batch_size}, that leaves parts of at "
                f"least 2 images. Received: {parts}"
            )
        return self


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
