import re
from typing import get_args

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from acl_tf import config
from acl_tf.config import (
    Positive,
    Section,
    assignments,
    build,
    checked_settings,
    differences,
    merge,
    nested,
    read_settings,
    suited,
    without_unused,
)
from acl_tf.data.config import DataConfig
from acl_tf.errors import UsageError
from acl_tf.models import BACKBONES
from acl_tf.pretrain.config import PretrainConfig
from acl_tf.training import config as training_config

PGD = "name, norm, epsilon, step_size, steps, start, momentum, clip_start, sparsity"
ARCHITECTURES = "resnet10, resnet18, resnet34, resnet50, wrn-28-10, wrn-34-10"


def settings_of(text: str) -> dict:
    return build(PretrainConfig, yaml.safe_load(text) or {}).model_dump()


def message(settings: dict) -> str:
    with pytest.raises(UsageError) as error:
        build(PretrainConfig, settings)
    return str(error.value)


# Round trip

finite = {"allow_nan": False, "allow_infinity": False}
positive = st.floats(min_value=0, exclude_min=True, **finite)
non_negative = st.floats(min_value=0, **finite)
share = st.floats(0, 1)
counts = st.integers(1, 10**12)
# YAML has no way to write surrogates, and every other text must survive.
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)


momentum = {"momentum": st.floats(0, 1, exclude_max=True), "weight_decay": non_negative}


def intervals(numbers):
    return st.tuples(numbers, numbers).map(lambda pair: tuple(sorted(pair)))


configurations = st.builds(
    lambda **sections: build(PretrainConfig, sections),
    data=st.fixed_dictionaries(
        {
            "dataset": texts,
            "data_dir": st.none() | texts,
            "split": texts,
            "limit": st.none() | counts,
            "image_size": st.none() | st.integers(8, 4096),
            "skip_bad_images": st.booleans(),
        }
    ),
    augmentation=st.fixed_dictionaries(
        {
            "crop_scale": intervals(st.floats(0, 1, exclude_min=True)),
            "crop_ratio": intervals(positive),
            "flip": st.booleans(),
            "brightness": non_negative,
            "contrast": non_negative,
            "saturation": non_negative,
            "hue": st.floats(0, 0.5),
            "jitter_probability": share,
            "grayscale_probability": share,
        }
    ),
    model=st.fixed_dictionaries(
        {
            "arch": st.sampled_from(list(BACKBONES)),
            "width": positive,
            "batch_norm": st.sampled_from(["paired", "single"]),
            "projection_blocks": st.sampled_from([2, 3]),
        }
    ),
    objective=st.fixed_dictionaries({"variant": st.just("ds"), "alpha": non_negative, "temperature": positive})
    | st.fixed_dictionaries({"variant": st.sampled_from(["a2a", "a2s"]), "temperature": positive}),
    attack=st.fixed_dictionaries(
        {
            "norm": st.sampled_from(["linf", "l2", "l1"]),
            "epsilon": non_negative,
            "step_size": st.none() | non_negative,
            "steps": st.integers(0, 100),
            "start": st.sampled_from(["uniform", "normal", "zero"]),
        }
    ),
    optimizer=st.builds(
        dict,
        st.fixed_dictionaries({"name": st.just("adamw"), "weight_decay": non_negative})
        | st.fixed_dictionaries({"name": st.just("sgd"), **momentum})
        | st.fixed_dictionaries(
            {
                "name": st.just("lars"),
                **momentum,
                "trust_coefficient": positive,
                "exclude": st.none() | st.sampled_from(["bn|bias", "^fc\\d+$", "täg: [a-z]"]),
            }
        ),
        learning_rate=positive,
        warmup_epochs=st.none() | non_negative,
        final_learning_rate=non_negative,
    ),
    training=st.fixed_dictionaries(
        {
            "epochs": counts,
            "batch_size": st.integers(2, 10**6),
            "precision": st.sampled_from(get_args(training_config.Precision)),
            "seed": st.integers(0, 2**31 - 1),
            "checkpoint_steps": counts,
            "keep_checkpoints": st.integers(2, 100),
            "log_steps": counts,
        }
    ),
)


@given(configurations)
def test_round_trip_through_yaml_is_exact(original):
    again = build(PretrainConfig, yaml.safe_load(config.to_yaml(original)))
    assert again == original
    assert differences(original, again) == []


def test_the_defaults_are_acls():
    resolved = build(PretrainConfig, {})
    assert resolved.attack.epsilon == 8 / 255 and resolved.attack.step_size == 2 / 255 and resolved.attack.steps == 5
    assert resolved.optimizer.learning_rate == 5.0 and resolved.optimizer.weight_decay == 1e-6
    assert resolved.objective.temperature == 0.5 and resolved.objective.variant == "ds"
    assert resolved.training.batch_size == 512 and resolved.training.epochs == 1000


@pytest.mark.parametrize(
    "written, number",
    [("8/255", 8 / 255), ("1e-6", 1e-6), ("1.0e-6", 1e-6), ("0", 0.0), ("1", 1.0), (".5", 0.5), (" 3/4 ", 0.75)],
)
def test_numbers_as_people_write_them(written, number):
    assert settings_of(f"attack: {{epsilon: {written}}}")["attack"]["epsilon"] == number
    pairs = assignments([f"attack.epsilon={written}"])
    assert build(PretrainConfig, pairs).attack.epsilon == number


def test_a_count_may_not_be_written_as_a_fraction():
    assert message({"training": {"epochs": "8/2"}}) == (
        "Configuration key training.epochs: expected a valid integer. Received: '8/2'"
    )


# Messages


@pytest.mark.parametrize(
    "key, value, expected",
    [
        (
            "attack.epsilom",
            0.1,
            f'Unknown configuration key attack.epsilom; did you mean "epsilon"? Known there: {PGD}. Received: 0.1',
        ),
        (
            "attack.zzz",
            0.1,
            f"Unknown configuration key attack.zzz. Known there: {PGD}. Received: 0.1",
        ),
        (
            "atack.epsilon",
            0.1,
            'Unknown configuration key atack; did you mean "attack"? Known there: data, order, augmentation, '
            "model, objective, attack, optimizer, training. Received: {'epsilon': 0.1}",
        ),
        ("training.epochs", "ten", "Configuration key training.epochs: expected a valid integer. Received: 'ten'"),
        ("training.epochs", 1.5, "Configuration key training.epochs: expected a valid integer. Received: 1.5"),
        ("training.epochs", True, "Configuration key training.epochs: expected a valid integer. Received: True"),
        ("data.limit", {"x": 1}, "Configuration key data.limit: expected a valid integer. Received: {'x': 1}"),
        ("data.dataset", 3, "Configuration key data.dataset: expected a valid string. Received: 3"),
        ("data.skip_bad_images", 1, "Configuration key data.skip_bad_images: expected a valid boolean. Received: 1"),
        ("model.width", "wide", "Configuration key model.width: expected a valid number. Received: 'wide'"),
        ("attack.epsilon", "8/0", "Configuration key attack.epsilon: expected a valid number. Received: '8/0'"),
        ("attack.epsilon", [1], "Configuration key attack.epsilon: expected a valid number. Received: [1]"),
        ("attack", 5, "Configuration key attack: expected a mapping of keys to values. Received: 5"),
        ("attack", None, "Configuration key attack: expected a mapping of keys to values. Received: None"),
        ("training.epochs", 0, "Configuration key training.epochs: expected greater than or equal to 1. Received: 0"),
        (
            "training.batch_size",
            1,
            "Configuration key training.batch_size: expected greater than or equal to 2. Received: 1",
        ),
        (
            "training.keep_checkpoints",
            1,
            "Configuration key training.keep_checkpoints: expected greater than or equal to 2. Received: 1",
        ),
        (
            "training.seed",
            2**31,
            "Configuration key training.seed: expected less than 2147483648. Received: 2147483648",
        ),
        (
            "attack.epsilon",
            -0.1,
            "Configuration key attack.epsilon: expected greater than or equal to 0. Received: -0.1",
        ),
        ("attack.epsilon", float("inf"), "Configuration key attack.epsilon: expected a finite number. Received: inf"),
        ("attack.epsilon", float("nan"), "Configuration key attack.epsilon: expected a finite number. Received: nan"),
        ("attack.epsilon", "1e400", "Configuration key attack.epsilon: expected a finite number. Received: '1e400'"),
        ("model.width", 0, "Configuration key model.width: expected greater than 0. Received: 0"),
        (
            "optimizer.momentum",
            1,
            "Configuration key optimizer.momentum: expected less than 1. Received: 1",
        ),
        (
            "augmentation.crop_scale",
            [1.0, 0.5],
            "Configuration key augmentation.crop_scale: expected two numbers in ascending order. Received: [1.0, 0.5]",
        ),
        (
            "augmentation.crop_scale",
            [0.5, 1.5],
            "Configuration key augmentation.crop_scale.1: expected less than or equal to 1. Received: 1.5",
        ),
        (
            "optimizer.exclude",
            "(",
            "Configuration key optimizer.exclude: expected a regular expression, but missing ), unterminated "
            "subpattern at position 0. Received: '('",
        ),
        (
            "model.arch",
            "resnet81",
            f'Configuration key model.arch: expected one of {ARCHITECTURES}; did you mean "resnet18"? '
            "Received: 'resnet81'",
        ),
        ("model.arch", "vit", f"Configuration key model.arch: expected one of {ARCHITECTURES}. Received: 'vit'"),
        ("model.arch", 18, f"Configuration key model.arch: expected one of {ARCHITECTURES}. Received: 18"),
        (
            "model.stem",
            "imagnet",
            "Configuration key model.stem: expected 'cifar' or 'imagenet'; did you mean \"imagenet\"? "
            "Received: 'imagnet'",
        ),
        ("model.projection_blocks", 4, "Configuration key model.projection_blocks: expected 2 or 3. Received: 4"),
        (
            "objective.variant",
            "dss",
            'Configuration key objective.variant: expected one of s2s, a2a, a2s, ds; did you mean "ds"? '
            "Received: 'dss'",
        ),
        (
            "optimizer.name",
            "adam",
            'Configuration key optimizer.name: expected one of lars, sgd, adamw; did you mean "adamw"? '
            "Received: 'adam'",
        ),
        (
            "training.precision",
            "bfloat16",
            "Configuration key training.precision: expected 'float32', 'mixed_bfloat16', 'mixed_float16' or 'float64'; "
            "did you mean \"mixed_bfloat16\"? Received: 'bfloat16'",
        ),
    ],
)
def test_wrong_settings(key, value, expected):
    assert message(nested(key, value)) == expected


@pytest.mark.parametrize(
    "settings, expected",
    [
        (
            {"objective": {"variant": "a2a", "alpha": 7}},
            "Unknown configuration key objective.alpha. Known there: variant, temperature. Received: 7",
        ),
        (
            {"optimizer": {"name": "adamw", "trust_coefficient": 1}},
            "Unknown configuration key optimizer.trust_coefficient. Known there: name, learning_rate, warmup_epochs, "
            "warmup_from, rate_per, cosine_epochs, final_learning_rate, weight_decay. Received: 1",
        ),
        (
            {"objective": {"variant": "s2s"}, "attack": {"steps": 1}},
            "Unknown configuration key attack, a section that nothing uses of what is chosen. Known there: data, "
            "order, augmentation, model, objective, optimizer, training. Received: {'steps': 1}",
        ),
        (
            {"order": {"name": "shufled"}},
            "Configuration key order.name: expected one of shuffled; did you mean \"shuffled\"? Received: 'shufled'",
        ),
        (
            {"objective": {"variant": []}},
            "Configuration key objective.variant: expected one of s2s, a2a, a2s, ds. Received: []",
        ),
    ],
)
def test_keys_that_the_chosen_class_does_not_have(settings, expected):
    assert message(settings) == expected


def test_keys_that_are_no_text():
    assert message({1: 2}).startswith("Unknown configuration key 1. Known there: data, ")


def test_wide_networks_have_no_stem():
    assert message({"model": {"arch": "wrn-28-10", "stem": "imagenet"}}) == (
        "model.stem: expected cifar, the only one of wrn-28-10. Received: imagenet"
    )


@pytest.mark.parametrize("pair", ["training.epochs", "=3", ""])
def test_a_pair_without_key_or_value(pair):
    with pytest.raises(UsageError) as error:
        assignments([pair])
    assert str(error.value) == f"Expected section.key=value, for example training.epochs=10. Received: {pair!r}"


def test_a_value_that_is_not_yaml():
    with pytest.raises(UsageError) as error:
        assignments(["data.limit=[1"])
    assert str(error.value).startswith("data.limit=[1 is not valid YAML: while parsing a flow sequence")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "content, complaint",
    [
        (b"attack: [1", "is not valid YAML: while parsing a flow sequence"),
        (b"attack: \xff", "is not valid YAML: unacceptable character #x00ff"),
        (b"attack: !!python/object:os.system {}", "is not valid YAML: could not determine a constructor"),
        (b"- attack", "must be a YAML mapping of sections. Received: a list"),
        (b"attack", "must be a YAML mapping of sections. Received: a str"),
    ],
)
def test_files_that_are_no_configuration(tmp_path, content, complaint):
    file = tmp_path / "run.yaml"
    file.write_bytes(content)
    with pytest.raises(UsageError) as error:
        read_settings(str(file))
    assert str(error.value).startswith(f"{file} {complaint}")
    assert "\n" not in str(error.value)


def test_an_empty_file_sets_nothing(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("# only a comment\n")
    assert read_settings(str(file)) == {}


def test_neither_file_nor_recipe(tmp_path):
    recipes = ", ".join(config.recipe_names())
    for source, hint in [("digitz", '; did you mean "digits"?'), (str(tmp_path), ".")]:
        with pytest.raises(UsageError) as error:
            read_settings(source)
        assert str(error.value) == (
            f"No configuration file and no recipe of that name{hint} Recipes: {recipes}. Received: {source!r}"
        )


# Any nonsense is a UsageError of one line, never a traceback.

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
    max_leaves=5,
)
DEFAULT = build(PretrainConfig, {})
known_keys = [f"{name}.{key}" for name, section in DEFAULT for key in type(section).model_fields]


@given(st.sampled_from([*known_keys, *PretrainConfig.model_fields]), values)
def test_no_value_breaks_validation(key, value):
    try:
        build(PretrainConfig, nested(key, value))
    except UsageError as error:
        message = str(error)
    else:
        return
    assert re.match("Configuration key|Unknown configuration key|model.stem", message) and "\n" not in message
    assert isinstance(value, dict | list) or message.endswith(f"Received: {value!r}")


# Settings for other classes than those that are chosen


def test_a_recipe_for_another_method_is_trimmed():
    recipe = {
        "objective": {"variant": "ds", "alpha": 2.0, "temperature": 0.2},
        "attack": {"epsilon": 0.1},
        "optimizer": {"name": "lars", "momentum": 0.5, "learning_rate": 1.0},
        "training": {"epochs": 3},
    }
    kept, left_out = suited(PretrainConfig, recipe, {"objective": {"variant": "s2s"}, "optimizer": {"name": "adamw"}})
    assert kept == {
        "objective": {"variant": "ds", "temperature": 0.2},
        "optimizer": {"name": "lars", "learning_rate": 1.0},
        "training": {"epochs": 3},
    }
    assert left_out == ["objective.alpha", "attack.epsilon", "optimizer.momentum"]
    assert suited(PretrainConfig, recipe, recipe) == (recipe, [])


@pytest.mark.parametrize("variant", ["ds", "a2a", "s2s"])
def test_a_mistake_in_a_recipe_is_not_hidden_by_trimming(variant):
    recipe = {"objective": {"variant": "ds", "alpa": 2.0}, "attack": {"epsilom": 0.1}}
    assert suited(PretrainConfig, recipe, {"objective": {"variant": variant}}) == (recipe, [])


def test_what_earlier_versions_wrote_and_nothing_used():
    before = {
        "objective": {"variant": "s2s", "alpha": 1.0, "temperature": 0.5},
        "attack": {"epsilon": 0.1},
        "training": {"epochs": 3, "unknown": 1},
    }
    assert without_unused(PretrainConfig, before) == {
        "objective": {"variant": "s2s", "temperature": 0.5},
        "training": {"epochs": 3, "unknown": 1},
    }


class Toy(Section):
    size: Positive
    name: str = "toy"


@pytest.mark.parametrize(
    "values, expected",
    [
        ({}, "`size` must be given. Received: no settings"),
        ({"name": "x"}, "`size` must be given. Received: name"),
        ({"size": 0}, "`size` must be greater than 0. Received: size=0"),
        ({"size": 1, "colour": 2}, "`colour` is no setting here; there are: size, name. Received: colour=2"),
    ],
)
def test_keyword_arguments(values, expected):
    with pytest.raises(ValueError) as error:
        checked_settings(Toy, values)
    assert str(error.value) == expected


# Merging and comparing


def test_the_upper_settings_win_key_by_key():
    below = {"data": {"dataset": "digits", "limit": 3}, "attack": {"steps": 1}}
    above = {"data": {"limit": 7, "split": "test"}, "training": {"seed": 2}}
    assert merge(below, above) == {
        "data": {"dataset": "digits", "limit": 7, "split": "test"},
        "attack": {"steps": 1},
        "training": {"seed": 2},
    }
    assert below == {"data": {"dataset": "digits", "limit": 3}, "attack": {"steps": 1}}
    assert above == {"data": {"limit": 7, "split": "test"}, "training": {"seed": 2}}


def test_none_takes_a_setting_back():
    assert merge({"data": {"limit": 3}}, assignments(["data.limit=null"])) == {"data": {"limit": None}}


def test_a_value_takes_the_place_of_a_section():
    assert merge({"data": {"limit": 3}}, {"data": 5}) == {"data": 5}
    assert merge({"data": 5}, {"data": {"limit": 3}}) == {"data": {"limit": 3}}


def test_later_assignments_win():
    assert assignments(["a.b=1", "a.c=2", "a.b=x"]) == {"a": {"b": "x", "c": 2}}
    assert assignments(["a.b=c=d"]) == {"a": {"b": "c=d"}}
    assert assignments(["a.b="]) == {"a": {"b": None}}


def test_differences_names_dotted_keys():
    one, other = DEFAULT, build(PretrainConfig, {"data": {"limit": 3}, "training": {"seed": 1}})
    assert differences(one, other) == ["data.limit", "training.seed"]
    assert differences(one, one) == []
    assert differences(DataConfig(), DataConfig(split="test")) == ["split"]


# Recipes


@pytest.mark.parametrize("name", config.recipe_names())
def test_recipe(name):
    assert build(PretrainConfig, read_settings(name)) != DEFAULT
