"""From options to a configuration: what the commands share."""

import functools
import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from acl_tf.config import AnyCommandConfig, CommandConfig, Settings

logger = logging.getLogger(__name__)


def resolve(
    config: type["AnyCommandConfig"],
    above: "Settings",
    source: str | None = None,
    started: Path | None = None,
    protocol: str | None = None,
    model_data: "Settings | None" = None,
) -> "AnyCommandConfig":
    """Returns the configuration that a command line means.

    A file or recipe may be written for another method: what it sets that the chosen one does not have is left out.

    Args:
        config: Class of the configuration.
        above: Settings by options and `--set`.
        source: Value of `--config`: a file, or a recipe.
        started: The run folder to go on in, or None; without `--config`, its own configuration is the base.
        protocol: A recipe that goes over that base.
        model_data: The data set of the model that the command is about, for where nothing names another.

    Raises:
        UsageError: At the first wrong key or value.
    """
    from acl_tf.config import build, merge, recipe_names

    if source is None and started and (started / "config.yaml").is_file():
        source = str(started / "config.yaml")
    named = merge(_layer(config, source) if source else {}, above)
    base = {"data": model_data} if model_data and "dataset" not in _data(named) else {}
    dataset = _data(merge(base, above)).get("dataset")
    if source is None and dataset in recipe_names(config.command):
        source = dataset  # a data set with a recipe of its own
    layers = {name: _layer(config, name) for name in (source, protocol) if name}
    chosen = functools.reduce(merge, [base, *layers.values(), above])
    for name, layer in layers.items():
        base = merge(base, _suited(config, name, layer, chosen))
    return build(config, merge(base, above))


def settings_of(keys: Mapping[str, str], flags: Mapping[str, Any], pairs: tuple[str, ...]) -> "Settings":
    """Returns what a command's options say.

    Args:
        keys: Key of the configuration that each option sets.
        flags: Values of these options; None where one was not given.
        pairs: Values of `--set`, which goes over them.

    Raises:
        UsageError: If a pair is none.
    """
    from acl_tf.config import assignments, merge, nested

    settings: Settings = {}
    for flag, value in flags.items():
        settings = settings if value is None else merge(settings, nested(keys[flag], value))
    return merge(settings, assignments(pairs))


def number_or_text(value: str | None) -> Any:
    """Reads an option as YAML does: `100` is an integer, `0.1` a decimal."""
    from acl_tf.config import assignments

    return None if value is None else assignments([f"value={value}"])["value"]


def pinned(model: str) -> str:
    """Returns a MODEL argument as a configuration records it: of a model on the Hub, with the full SHA of the commit.

    Raises:
        HubError: If there is none on the Hub, or it cannot be reached.
    """
    from acl_tf.hub.locate import find_on_hub

    snapshot = find_on_hub(model)
    return str(snapshot.name) if snapshot else model


def data_of_model(model: str) -> dict[str, Any]:
    """Returns data set and data folder that a model was trained on; nothing where it does not say.

    Args:
        model: A MODEL argument.
    """
    from acl_tf.hub.locate import find_model_folder
    from acl_tf.hub.names import hub_name

    folder = find_model_folder(model) if hub_name(model) else Path(model)
    for file in (folder / "config.json", folder / "model" / "config.json"):
        if file.is_file():
            try:
                data = json.loads(file.read_text(encoding="utf-8"))["recipe"]["data"]
                return {key: data[key] for key in ("dataset", "data_dir") if data[key]}
            except (ValueError, LookupError, TypeError):
                return {}  # an imported model, or a damaged file, which loading the model explains
    return {}


def run_name(model: str) -> str:
    """Returns what to call the runs that start from a model; the SHA of a commit is cut to 12 digits."""
    path = Path(re.sub(r"(@[0-9a-f]{12})[0-9a-f]{28}$", r"\1", model))
    name = path.resolve().parent.name if path.name == "model" else path.name
    return (name or path.resolve().name).replace(":", "-")


def _layer(config: type["CommandConfig"], source: str) -> "Settings":
    """Reads a configuration file, or the recipe of that name."""
    from acl_tf.config import read_settings
    from acl_tf.training.run_folder import settings_in

    file = Path(source)
    return settings_in(file, config) if file.is_file() else read_settings(source, config.command)


def _suited(config: type["CommandConfig"], name: str, layer: "Settings", chosen: "Settings") -> "Settings":
    """Returns the settings of a file or recipe without those that are not for what is chosen, which are logged."""
    from acl_tf.config import suited

    kept, left_out = suited(config, layer, chosen)
    if left_out:
        logger.info("Left out of %s, for nothing that is chosen uses it: %s", name, ", ".join(left_out))
    return kept


def _data(settings: "Settings") -> Mapping[str, Any]:
    data = settings.get("data")
    return data if isinstance(data, Mapping) else {}
