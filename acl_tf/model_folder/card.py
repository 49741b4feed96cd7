"""The model card: `README.md` of a model folder, made from its configuration and records."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any, NamedTuple

import jinja2
import yaml
from huggingface_hub import EvalResult, ModelCardData

from acl_tf import record_text
from acl_tf.attacks import ATTACK_WORDS, NORM_WORDS
from acl_tf.errors import ModelFolderError
from acl_tf.model_folder.files import CARD
from acl_tf.printable import printable
from acl_tf.records import Record

# Metadata that is generated; other keys and tags, which a user has set, are kept.
GENERATED = ("library_name", "pipeline_tag", "datasets", "metrics", "model-index")
TAGS = ("acl-tf", "adversarial-robustness", "contrastive-learning")
# Variants and methods of acl-tf 0.1 that train without an attack, although their recipes have one: its folders do not
# say whether they were attacked.
NOT_ATTACKED_IN_0_1 = ("s2s", "standard", "gaussian")
# Names on the Hub of data sets of TFDS.
DATASETS = {"cifar10": "uoft-cs/cifar10", "cifar100": "uoft-cs/cifar100"}
NOWHERE = "user/name"

_METADATA = re.compile(r"\A---\s*\n(.*?)^---\s*(?:\n|\Z)", re.DOTALL | re.MULTILINE)
_BEGIN = re.compile(r"<!-- acl-tf begin (?P<repo_id>[^\s:]+): [^\n]*-->\n")
_END = re.compile(r"<!-- acl-tf end -->\n?")
_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("acl_tf.model_folder"),
    autoescape=False,  # it is Markdown
    keep_trailing_newline=True,
    undefined=jinja2.StrictUndefined,
)


def card(config: Mapping[str, Any], records: Sequence[Record], repo_id: str | None = None, previous: str = "") -> str:
    """Returns a model card.

    Args:
        config: Content of the model folder's `config.json`.
        records: Records of the model folder.
        repo_id: Repository of the model; None: the one that `previous` names, if any.
        previous: Existing card. Text outside of the generated part and the user's metadata (a licence, for example)
            are kept.

    Returns:
        Markdown, with metadata for the Hub. The same arguments give the same card.
    """
    metadata, body = _split(previous)
    generated = next(_generated(body), None)
    repo_id = repo_id or (generated.repo_id if generated else NOWHERE)
    text = _TEMPLATES.get_template("card.md").render(
        title=_title(config, repo_id),
        config=config,
        network=", ".join(_network_facts(config)),
        facts=[(key, _cell(value)) for key, value in _facts(config)],
        repo_id=repo_id,
        returned="features" if config["kind"] == "encoder" else "logits",
        attacked=attack_in_training(config) is not None,
        imported=_at(config, "recipe", "imported_from") is not None,
        method=_at(config, "recipe", "method", "name"),
        mode=_at(config, "recipe", "method", "mode"),
        measured_under_attack=any(_is_attacked(record) for record in records),
        rows=[[_cell(cell) for cell in record_text.cells(record)] for record in records],
        recipe=_yaml(without_local_paths(config.get("recipe") or {})).rstrip(),
    )
    begin = f"<!-- acl-tf begin {repo_id}: made from config.json and records.jsonl; write above or below -->"
    text = f"{begin}\n{text}<!-- acl-tf end -->\n"
    made, own = _metadata(config, records, repo_id), _own(metadata)
    front = _yaml({**made, **own, "tags": [*made["tags"], *own.get("tags", [])]})
    if generated:
        return f"---\n{front}---\n{body[: generated.begin]}{text}{body[generated.end :]}"
    below = f"\n{body.strip()}\n" if body.strip() else ""
    return f"---\n{front}---\n{text}{below}"


def users_text(text: str) -> str:
    """Returns the text of a card outside of the generated part, without metadata."""
    body, kept, end = _split(text)[1], [], 0
    for part in _generated(body):
        kept.append(body[end : part.begin])
        end = part.end
    return "".join([*kept, body[end:]]).strip()


def merged(older: str, newer: str) -> str:
    """Returns a card with the users' metadata of two cards, and the users' text of the newer one, if it has any.

    Args:
        older: Older card.
        newer: Newer card, whose metadata and text take precedence.
    """
    metadata = {**_own(_split(older)[0]), **_own(_split(newer)[0])}
    body = _split(newer if users_text(newer) or not users_text(older) else older)[1]
    return f"---\n{_yaml(metadata)}---\n{body}"


def without_local_paths(value: Any) -> Any:
    """Returns a recipe without the folders of this machine: absolute paths are cut to their last part."""
    if isinstance(value, Mapping):
        return {key: without_local_paths(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [without_local_paths(part) for part in value]
    return PurePath(value).name if isinstance(value, str) and value.startswith(("/", "~")) else value


class _Generated(NamedTuple):
    """Where a generated part stands in a card, and the repository that it is about."""

    begin: int
    end: int
    repo_id: str


def _generated(body: str) -> Iterator[_Generated]:
    """Yields the generated parts of a card, in time proportional to its length."""
    at = 0
    while (begin := _BEGIN.search(body, at)) and (end := _END.search(body, begin.end())):
        yield _Generated(begin.start(), end.end(), begin["repo_id"])
        at = end.end()


class _Scalar(str):
    """A number, date or truth value of the user's metadata, as it was written: `no` is Norwegian, 1.10 a version."""

    tag: str


class _Loader(yaml.SafeLoader):
    """Reads what is no text as `_Scalar`."""


class _Dumper(yaml.SafeDumper):
    """Writes a `_Scalar` as it was."""


def _as_written(loader: _Loader, node: yaml.ScalarNode) -> _Scalar:
    scalar = _Scalar(node.value)
    scalar.tag = node.tag
    return scalar


for _kind in ("bool", "int", "float", "timestamp"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _as_written)
_Dumper.add_representer(_Scalar, lambda dumper, scalar: dumper.represent_scalar(scalar.tag, str(scalar)))


def _split(text: str) -> tuple[dict[str, Any], str]:
    """Returns the metadata and the body of a card."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    match = _METADATA.match(text)
    if not match:
        return {}, text
    try:
        metadata = yaml.load(match[1], _Loader)
    except yaml.YAMLError as error:
        reason = str(error).splitlines()[0]
        raise ModelFolderError(f"The metadata at the head of {CARD} are not YAML: {reason}.") from error
    return metadata if isinstance(metadata, dict) else {}, text[match.end() :]


def _metadata(config: Mapping[str, Any], records: Sequence[Record], repo_id: str) -> dict[str, Any]:
    classifier = config["kind"] == "classifier"
    dataset = _at(config, "recipe", "data", "dataset")
    return ModelCardData(
        library_name="keras",
        pipeline_tag="image-classification" if classifier else "image-feature-extraction",
        tags=[tag for tag in TAGS if tag != "adversarial-robustness" or attack_in_training(config)],
        datasets=[DATASETS[dataset]] if dataset in DATASETS else None,
        metrics=["accuracy"] if records else None,
        model_name=repo_id if records else None,
        eval_results=[_result(record) for record in records] or None,
    ).to_dict()


def attack_in_training(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Returns the attack that a model was trained against, or None if there was none or it is not known.

    Args:
        config: Content of the model folder's `config.json`.
    """
    recipe, attacked = config.get("recipe"), config.get("attacked")
    attack = _at(recipe, "attack")
    if not isinstance(attack, Mapping):
        return None
    if attacked is None:
        named = _at(recipe, "method", "name") or _at(recipe, "objective", "variant")
        attacked = "epsilon" in attack and named not in NOT_ATTACKED_IN_0_1
    return attack if attacked else None


def _own(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the user's metadata, with the tags that were not generated."""
    own = {key: value for key, value in metadata.items() if key not in (*GENERATED, "tags")}
    tags = metadata.get("tags")
    added = [tag for tag in tags if tag not in TAGS] if isinstance(tags, list) else []
    return {**own, "tags": added} if added else own


def _result(record: Record) -> EvalResult:
    """Returns a record in the form of the Hub's model index.

    The Hub groups results by data set and drops other details, so the attack becomes part of the metric's name.
    """
    name = record["metric"].replace("_", " ").capitalize()
    special = _is_attacked(record) or any(key in record["protocol"] for key in ("corruption", "sigma"))
    return EvalResult(
        task_type="image-classification",
        dataset_type=DATASETS.get(record.get("dataset", ""), record.get("dataset") or "unknown"),
        dataset_name=record.get("dataset") or "unknown",
        dataset_split=record.get("split"),
        metric_type="accuracy" if record["metric"].endswith("accuracy") else record["metric"],
        metric_name=f"{name} ({record_text.attack(record['protocol'])})" if special else name,
        metric_value=record["value"],
        metric_args={**record["protocol"], "n": record.get("n")},
    )


def _is_attacked(record: Record) -> bool:
    return record["protocol"].get("attack", "none") != "none"


def _network_facts(config: Mapping[str, Any]) -> Iterator[str]:
    """Yields the known properties of the network."""
    if config.get("classes"):
        yield f"{len(config['classes'])} classes"
    if "arch" in config:
        yield f"{config['arch']} of width {config['width']:g}"
    if "input_shape" in config:
        height, width, _ = config["input_shape"]
        yield f"images of {width}×{height} pixels"
    if "features" in config:
        yield f"{config['features']} features"
    if config.get("batch_norm") == "paired":
        yield f"the {config['branch']} branch of paired batch normalisation"


def _title(config: Mapping[str, Any], repo_id: str) -> str:
    return f"{config.get('arch', 'Image')} {config['kind']}" if repo_id == NOWHERE else repo_id.split("/")[1]


def _facts(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yields the most important settings of a recipe, as far as it has them; the card shows the whole recipe below."""
    recipe = config.get("recipe") or {}
    asked = {
        "pre-training": ("objective", "variant"),
        "fine-tuning": ("method", "name"),
        "what is trained": ("method", "mode"),
        "encoder": ("encoder", "source"),
        "data set": ("data", "dataset"),
        "labels": ("data", "labels"),
        "epochs": ("training", "epochs"),
        "batch size": ("training", "batch_size"),
        "seed": ("training", "seed"),
        "imported from": ("imported_from",),
    }
    for name, keys in asked.items():
        value = without_local_paths(_at(recipe, *keys))
        if value is not None:
            yield name, str(value)
    attack = attack_in_training(config)
    if attack:
        yield "attack in training", _attack(attack)
    elif "attack" in recipe:
        yield "attack in training", "none"
    if config.get("classes"):
        yield "classes", ", ".join(config["classes"])
    if config.get("versions"):
        yield "versions", ", ".join(f"{name} {version}" for name, version in config["versions"].items())


def _attack(attack: Mapping[str, Any]) -> str:
    """Writes the attack of a recipe; those of acl-tf 0.1 do not say that it is PGD in l∞."""
    name, norm = (attack.get("name"), attack.get("norm")) if "name" in attack else ("pgd", "linf")
    radius = [NORM_WORDS.get(str(norm), norm)] if norm else []
    radius += [record_text.epsilon(attack["epsilon"])] if "epsilon" in attack else []
    steps, size = attack.get("steps"), attack.get("step_size")
    length = f" of {record_text.epsilon(size)}" if size is not None else ""
    taken = [f"{steps} step{'' if steps == 1 else 's'}{length}"] if steps is not None else []
    return ", ".join([ATTACK_WORDS.get(str(name), str(name)), *([" ".join(radius)] if radius else []), *taken])


def _at(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _cell(value: str) -> str:
    """Returns text escaped for a table in Markdown."""
    return printable(value).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def _yaml(value: Any) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
