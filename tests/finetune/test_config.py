"""Configurations, recipes, and what they build."""

import numpy as np
import pytest
import yaml

from acl_tf.attacks.pgd import PGD
from acl_tf.attacks.unforeseen.frank_wolfe import L1FrankWolfe
from acl_tf.config import build, merge, read_settings, recipe_names, to_yaml
from acl_tf.errors import UsageError
from acl_tf.finetune import METHODS
from acl_tf.finetune.config import BallConfig, FinetuneConfig, StepwiseSGDConfig
from acl_tf.finetune.distillation import Distillation
from acl_tf.finetune.inputs import StartingEncoder
from acl_tf.finetune.run import build_finetuner, build_sgd
from acl_tf.finetune.semi_supervised import build_student, teacher_config
from acl_tf.finetune.semi_supervised_config import BatchConfig, SemiSupervisedConfig
from acl_tf.finetune.uat import UATPlusPlus
from acl_tf.horizon import Horizon
from acl_tf.models.branch import Branch
from tests.finetune.tiny import make_encoder

ENCODER = {"encoder": {"source": "runs/ds"}}
RANDOM = {"encoder": {"source": "random:resnet18"}}


def finetune(**settings) -> FinetuneConfig:
    return build(FinetuneConfig, merge(ENCODER, settings))


def semi(**settings) -> SemiSupervisedConfig:
    return build(SemiSupervisedConfig, merge(ENCODER, settings))


def recipe(name: str) -> FinetuneConfig:
    return finetune(**read_settings(name, "finetune"))


# Recipes


@pytest.mark.parametrize("config", [FinetuneConfig, SemiSupervisedConfig], ids=lambda config: config.command)
def test_every_recipe_builds(config):
    names = recipe_names(config.command)
    assert len(names) >= 3
    for name in names:
        built = build(config, merge(ENCODER, read_settings(name, config.command)))
        assert build(config, merge({}, yaml.safe_load(to_yaml(built)))) == built


AFF = ["aff", "aff_100_epochs", "aff_cifar100", "aff_wrn-34-10_cifar10"]


@pytest.mark.parametrize("name", [None, *AFF])
def test_full_fine_tuning_is_the_paper_s(name):
    config = recipe(name) if name else finetune()
    assert (config.method.name, config.method.mode, config.method.beta) == ("trades", "full", 6.0)
    assert (config.attack.epsilon, config.attack.step_size, config.attack.steps) == (8 / 255, 2 / 255, 10)
    assert (config.optimizer.learning_rate, config.optimizer.momentum, config.optimizer.weight_decay) == (
        0.1,
        0.9,
        2e-4,
    )
    assert config.training.batch_size == 128
    assert (config.augmentation.padding, config.augmentation.flip) == (4, True)
    assert (config.validation.steps, config.validation.images, config.validation.every) == (20, 500, 1)
    long = name == "aff_100_epochs"
    assert config.training.epochs == (100 if long else 25)
    assert drops(config.optimizer, config.training.epochs) == ([40, 60] if long else [15, 20])
    assert config.data.dataset == ("cifar100" if name == "aff_cifar100" else "cifar10")


@pytest.mark.parametrize("name, method", [("slf", "standard"), ("alf", "at")])
def test_linear_probes_are_the_field_s(name, method):
    config = recipe(name)
    assert (config.method.name, config.method.mode) == (method, "linear")
    assert method == "standard" or config.attack.steps == 10
    assert (config.optimizer.learning_rate, config.optimizer.momentum, config.optimizer.weight_decay) == (
        0.01,
        0.9,
        2e-4,
    )
    assert (config.training.epochs, config.training.batch_size) == (25, 512)
    assert drops(config.optimizer, 25) == [10, 20]


@pytest.mark.parametrize("name, labels, sizes", [("1", 0.01, (2, 198)), ("10", 0.1, (25, 225))])
def test_semi_supervised_training_is_the_paper_s(name, labels, sizes):
    config = semi(**read_settings(f"cifar10_{name}_percent", "semi-supervised"))
    assert (config.data.dataset, config.data.labels) == ("cifar10", labels)
    teacher = config.teacher
    assert (teacher.branch, teacher.epochs, drops(teacher.optimizer, 100)) == ("standard", 100, [40, 60])
    assert (config.training.epochs, drops(config.optimizer, 15)) == (15, [5, 10])
    assert (config.optimizer.learning_rate, config.optimizer.weight_decay) == (0.1, 5e-4)
    loss = config.distillation
    assert (loss.alpha, loss.temperature, loss.beta) == (0.5, 1.0, 6.0)
    assert (config.attack.epsilon, config.attack.step_size, config.attack.steps) == (8 / 255, 2 / 255, 10)
    assert loss.batch_sizes(450, 44550) == sizes


@pytest.mark.parametrize(
    "labelled, unlabelled, sizes",
    [(450, 44550, (2, 198)), (4500, 40500, (25, 225)), (129, 1165, (25, 225)), (4, 100, (2, 100)), (20, 80, (20, 80))],
)
def test_how_many_images_a_batch_has(labelled, unlabelled, sizes):
    assert BatchConfig().batch_sizes(labelled, unlabelled) == sizes


def test_batch_sizes_can_be_set():
    assert BatchConfig(labelled_per_batch=3, unlabelled_per_batch=5).batch_sizes(100, 100) == (3, 5)


# The learning rate


def drops(config: StepwiseSGDConfig, epochs: int, per_epoch: int = 7) -> list[int]:
    """After which epochs the rate falls to a tenth; it changes nowhere else."""
    rates = [rate(config, step, epochs, per_epoch) for step in range(epochs * per_epoch)]
    found = [step for step in range(1, len(rates)) if rates[step] != rates[step - 1]]
    assert rates[0] == pytest.approx(config.learning_rate)
    assert all(rates[step] == pytest.approx(config.decay_factor * rates[step - 1]) for step in found)
    assert all(step % per_epoch == 0 for step in found)  # the first step of an epoch
    return [step // per_epoch for step in found]


def rate(config: StepwiseSGDConfig, step: int, epochs: int, per_epoch: int) -> float:
    optimizer = build_sgd(config, Horizon.uniform(epochs, per_epoch))
    optimizer.iterations.assign(step)
    return float(optimizer.learning_rate)


@pytest.mark.parametrize(
    "settings, epochs, expected",
    [
        ({}, 25, [15, 20]),
        ({}, 5, [3, 4]),
        ({}, 1, []),
        ({"decay_at": [0.5]}, 10, [5]),
        ({"decay_epochs": [2, 3]}, 6, [2, 3]),
        ({"decay_epochs": [3, 2]}, 6, [2, 3]),
        ({"decay_epochs": [4], "decay_at": [0.5]}, 6, [4]),
        ({"decay_epochs": []}, 6, []),
        ({"decay_at": []}, 6, []),
        ({"decay_epochs": [2], "decay_factor": 0.5}, 4, [2]),
        ({"decay_epochs": [2, 5, 9]}, 5, [2]),
    ],
)
def test_when_the_rate_falls(settings, epochs, expected):
    assert drops(build(StepwiseSGDConfig, settings), epochs, per_epoch=3) == expected


def test_every_setting_reaches_the_optimizer():
    values = build_sgd(
        StepwiseSGDConfig(learning_rate=0.3, momentum=0.8, weight_decay=1e-3), Horizon.uniform(10, 5)
    ).get_config()
    assert (values["momentum"], values["weight_decay"]) == (0.8, 1e-3)
    assert values["learning_rate"]["config"]["values"] == pytest.approx([0.3, 0.03, 0.003])


# What a configuration builds


@pytest.fixture
def start() -> StartingEncoder:
    return StartingEncoder(make_encoder(), Branch.STANDARD, None)


@pytest.mark.parametrize("method, begin, own", [("at", "uniform", {}), ("trades", "normal", {"beta": 2.5})])
def test_every_setting_reaches_the_tuner(start, method, begin, own):
    config = finetune(
        method={"name": method, "mode": "linear", **own},
        attack={"epsilon": 0.1, "step_size": 0.03, "steps": 7},
        augmentation={"padding": 2, "flip": False},
        training={"seed": 11},
    )
    tuner = build_finetuner(config, start, 5)
    assert type(tuner) is METHODS[method] and tuner.attack.start_kind == begin
    assert tuner.classifier.units == 5 and tuner.seed == 11
    assert (tuner.augmentation.padding, tuner.augmentation.flip) == (2, False)
    assert not start.encoder.trainable
    assert (tuner.attack.epsilon, tuner.attack.step_size, tuner.attack.steps) == (0.1, 0.03, 7)
    assert tuner.settings.model_dump() == own


@pytest.mark.parametrize("method, own", [("standard", {}), ("gaussian", {"sigma": 0.12})])
def test_a_method_that_does_not_attack(start, method, own):
    tuner = build_finetuner(finetune(method={"name": method, **own}), start, 5)
    assert type(tuner) is METHODS[method] and tuner.attack is None
    assert tuner.settings.model_dump() == own and tuner.smoothing_sigma == own.get("sigma")
    with pytest.raises(ValueError) as error:
        tuner.run_attack(None, None, None)
    assert str(error.value) == (f"`attack` must be given to a method that attacks. Received: {tuner.name}, attack=None")


@pytest.mark.parametrize("method, begin", [("at", "uniform"), ("trades", "normal")])
def test_the_attack_that_a_method_is_published_with(start, method, begin):
    """In Python as by configuration."""
    for attack in (
        METHODS[method](start.encoder, 5).attack,
        build_finetuner(finetune(method={"name": method}), start, 5).attack,
    ):
        assert type(attack) is PGD and (attack.norm, attack.start_kind) == ("linf", begin)
        assert (attack.epsilon, attack.step_size, attack.steps) == (8 / 255, 2 / 255, 10)


@pytest.mark.parametrize(
    "settings, expected",
    [
        ({"epsilon": "4/255"}, {"norm": "linf", "epsilon": 4 / 255, "step_size": 2 / 255, "steps": 10}),
        (
            {"name": "pgd", "norm": "l2", "epsilon": 0.5},
            {"norm": "l2", "epsilon": 0.5, "step_size": 0.125, "steps": 10},
        ),
        ({"norm": "l1", "epsilon": 12.0, "steps": 3}, {"norm": "l1", "epsilon": 12.0, "step_size": 3.0, "steps": 3}),
    ],
)
def test_an_attack_of_training_in_any_norm(start, settings, expected):
    config = finetune(method={"name": "at"}, attack=settings)
    attack = build_finetuner(config, start, 5).attack
    assert type(attack) is PGD and {key: getattr(attack, key) for key in expected} == expected
    assert BallConfig.of(config.attack).model_dump() == {key: expected[key] for key in ("norm", "epsilon")}


def test_another_attack_of_training(start):
    """It has its own defaults, not PGD's, and is validated in its ball."""
    for config in (finetune(attack={"name": "frank-wolfe"}), semi(attack={"name": "frank-wolfe"})):
        assert config.attack.model_dump() == {"name": "frank-wolfe", "epsilon": 12.0, "steps": 30}
        assert BallConfig.of(config.attack).model_dump() == {"norm": "l1", "epsilon": 12.0}
    assert type(build_finetuner(finetune(attack={"name": "frank-wolfe"}), start, 5).attack) is L1FrankWolfe
    assert teacher_config(config).attack.model_dump() == {"norm": "l1", "epsilon": 12.0}


def test_which_branch(start):
    assert build_finetuner(finetune(), start, 2).branch is Branch.STANDARD  # the encoder's own
    assert build_finetuner(finetune(encoder={"branch": "adversarial"}), start, 2).branch is Branch.ADVERSARIAL
    assert start.encoder.trainable
    assert build_student(semi(), start, 2).branch is Branch.STANDARD
    assert build_student(semi(encoder={"branch": "adversarial"}), start, 2).branch is Branch.ADVERSARIAL


def test_every_setting_reaches_the_student(start):
    settings = {
        "attack": {"epsilon": 0.1, "step_size": 0.03, "steps": 7},
        "augmentation": {"padding": 2, "flip": False},
        "training": {"seed": 11},
    }
    losses = {"alpha": 0.3, "temperature": 2.0, "beta": 1.0}, {"online_weight": 4.0}
    student = build_student(semi(**settings, distillation=losses[0]), start, 5)
    assert type(student) is Distillation and student.settings.model_dump() == losses[0]
    uat = {**RANDOM, **settings, "baseline": "uat++", "distillation": losses[1]}
    baseline = build_student(build(SemiSupervisedConfig, uat), start, 5)
    assert type(baseline) is UATPlusPlus and baseline.settings.model_dump() == losses[1]
    for tuner in (student, baseline):
        assert type(tuner.attack) is PGD and tuner.attack.start_kind == "uniform"
        assert (tuner.attack.epsilon, tuner.attack.step_size, tuner.attack.steps) == (0.1, 0.03, 7)
        assert (tuner.augmentation.padding, tuner.augmentation.flip, tuner.seed) == (2, False, 11)


def test_the_teacher_of_a_run():
    config = semi(
        encoder={"branch": "adversarial"},
        data={"dataset": "digits", "labels": 0.2, "validation": 50},
        teacher={"epochs": 7, "batch_size": 33, "optimizer": {"learning_rate": 0.05}},
        training={"epochs": 3, "seed": 5, "precision": "mixed_bfloat16", "checkpoint_steps": 9},
        augmentation={"padding": 2},
        attack={"epsilon": 0.05, "steps": 3},
    )
    teacher = teacher_config(config)
    assert (teacher.method.name, teacher.method.mode, teacher.encoder.branch) == ("standard", "full", "standard")
    assert teacher.encoder.source == "runs/ds" and teacher.attack.model_dump() == {"norm": "linf", "epsilon": 0.05}
    assert teacher.data.model_dump() == config.data.model_dump()
    assert (teacher.training.epochs, teacher.training.batch_size, teacher.training.seed) == (7, 33, 5)
    assert (teacher.training.precision, teacher.training.checkpoint_steps) == ("mixed_bfloat16", 9)
    assert teacher.optimizer.learning_rate == 0.05 and teacher.augmentation.padding == 2
    assert build(FinetuneConfig, yaml.safe_load(to_yaml(teacher))).model_dump() == teacher.model_dump()


# What is wrong in one


@pytest.mark.parametrize(
    "settings, message",
    [
        (
            {"method": {"name": "standard", "beta": 9}},
            "Unknown configuration key method.beta. Known there: name, mode. Received: 9",
        ),
        (
            {"method": {"sigma": 0.25}},
            "Unknown configuration key method.sigma. Known there: name, mode, beta. Received: 0.25",
        ),
        (
            {"method": {"name": "gaussian"}},
            "Configuration key method.sigma: expected a value. Received: {'name': 'gaussian'}",
        ),
        (
            {"method": {"name": "standard"}, "attack": {"steps": 3}},
            'Unknown configuration key attack.steps; did you mean "epsilon"? Known there: norm, epsilon. Received: 3',
        ),
        (
            {"attack": {"name": "frank-wolfe", "step_size": 3}},
            'Unknown configuration key attack.step_size; did you mean "steps"? Known there: name, epsilon, steps. '
            "Received: 3",
        ),
        (
            {"attack": {"name": "pdg"}},
            'Configuration key attack.name: expected one of fgsm, pgd20, pgd, frank-wolfe; did you mean "pgd"? '
            "Received: 'pdg'",
        ),
        (
            {"method": {"name": "tradse"}},
            'Configuration key method.name: expected one of standard, at, gaussian, trades; did you mean "trades"? '
            "Received: 'tradse'",
        ),
        (
            {"method": {"name": ["at"]}},
            'Configuration key method.name: expected one of standard, at, gaussian, trades; did you mean "at"? '
            "Received: ['at']",
        ),
        ({"method": 5}, "Configuration key method: expected a mapping of keys to values. Received: 5"),
    ],
)
def test_keys_that_the_method_does_not_have(settings, message):
    with pytest.raises(UsageError) as error:
        finetune(**settings)
    assert str(error.value) == message


@pytest.mark.parametrize(
    "settings, message",
    [
        (
            {"distillation": {"online_weight": 5}},
            "Unknown configuration key distillation.online_weight. Known there: alpha, temperature, beta, "
            "labelled_per_batch, unlabelled_per_batch. Received: 5",
        ),
        (
            {**RANDOM, "baseline": "uat++", "distillation": {"beta": 6}},
            "Unknown configuration key distillation.beta. Known there: online_weight, labelled_per_batch, "
            "unlabelled_per_batch. Received: 6",
        ),
        (
            {"baseline": "uat"},
            "Configuration key baseline: expected one of uat++; did you mean \"uat++\"? Received: 'uat'",
        ),
    ],
)
def test_keys_that_the_student_does_not_have(settings, message):
    with pytest.raises(UsageError) as error:
        semi(**settings)
    assert str(error.value) == message


@pytest.mark.parametrize("labels", [1, 100, 0.1, 1.0, None])
def test_labels(labels):
    found = finetune(data={"labels": labels}).data.labels
    assert found == labels and type(found) is type(labels)


@pytest.mark.parametrize("labels", [0, -1, 0.0, 1.5, -0.5, "many", True, [1], np.nan])
def test_labels_that_are_none(labels):
    with pytest.raises(UsageError) as error:
        finetune(data={"labels": labels})
    assert str(error.value) == (
        "Configuration key data.labels: expected a count from 1 (an integer), or a fraction above 0 and up to 1.0 (a "
        f"decimal). Received: {labels!r}"
    )


def test_a_width_is_for_random_encoders():
    assert build(FinetuneConfig, {"encoder": {"source": "random:resnet18", "width": 0.5}}).encoder.is_random
    with pytest.raises(UsageError) as error:
        finetune(encoder={"width": 0.5})
    assert str(error.value) == (
        "Configuration key encoder: expected no width, which is for random:ARCH only; an encoder in a folder has its "
        "own. Received: {'source': 'runs/ds', 'width': 0.5}"
    )


def test_the_baseline_is_not_pre_trained():
    with pytest.raises(UsageError) as error:
        semi(baseline="uat++")
    assert str(error.value) == (
        "The baseline uat++ does without pre-training; name random weights as MODEL, for example random:resnet18. "
        "Received: 'runs/ds'"
    )
