import pytest

from acl_tf.errors import UsageError
from acl_tf.evaluate.attack_settings import Circumstances, parse_attack
from acl_tf.evaluate.autoattack_settings import AutoAttackSettings

NAMES = "some of apgd-ce, apgd-dlr, apgd-t, fab, fab-t, square, each once, joined by +"


def parsed(text: str) -> AutoAttackSettings:
    name, settings = parse_attack(text)
    assert name == "autoattack" and isinstance(settings, AutoAttackSettings)
    return settings


def test_without_parameters():
    settings = parsed("autoattack")
    assert (settings.norm, settings.resolved_epsilon, settings.attacks) == ("linf", 8 / 255, None)


def test_every_parameter():
    settings = parsed("autoattack:version=plus,norm=l2,epsilon=1/2,attacks=apgd-ce+fab-t")
    expected = AutoAttackSettings(version="plus", norm="l2", epsilon=0.5, attacks=("apgd-ce", "fab-t"))
    assert settings == expected
    assert parsed("autoattack:attacks=square").attacks == ("square",)


@pytest.mark.parametrize("norm, epsilon", [("linf", 8 / 255), ("l2", 0.5), ("l1", 12.0)])
def test_the_default_radius_depends_on_the_norm(norm, epsilon):
    assert parsed(f"autoattack:norm={norm}").resolved_epsilon == epsilon
    assert parsed(f"autoattack:norm={norm},epsilon=3").resolved_epsilon == 3


@pytest.mark.parametrize("stochastic, default", [(False, "standard"), (True, "rand")])
def test_the_default_version_depends_on_the_model(stochastic, default):
    assert parsed("autoattack").resolved_version(stochastic) == default
    for version in ("standard", "plus", "rand"):
        assert parsed(f"autoattack:version={version}").resolved_version(stochastic) == version


@pytest.mark.parametrize(
    "text, reason",
    [
        ("version=custom", "Configuration key version: expected 'standard', 'plus' or 'rand'. Received: 'custom'"),
        ("norm=l3", "Configuration key norm: expected 'linf', 'l2' or 'l1'"),
        ("epsilon=0", "Configuration key epsilon: expected greater than 0. Received: 0"),
        ("attacks=pgd", f"Configuration key attacks: expected {NAMES}. Received: 'pgd'"),
        ("attacks=square+square", f"Configuration key attacks: expected {NAMES}. Received: 'square+square'"),
        ("attacks=square+", f"Configuration key attacks: expected {NAMES}. Received: 'square+'"),
        ("steps=5", "Unknown configuration key steps"),
    ],
)
def test_what_is_wrong(text, reason):
    with pytest.raises(UsageError) as error:
        parse_attack(f"autoattack:{text}")
    assert str(error.value).startswith(f"The attack 'autoattack:{text}' is not as it should be. {reason}")


def test_lists_that_are_none():
    for attacks in ((), ("square", "square"), ("pgd",)):
        with pytest.raises(ValueError, match="each once, joined by"):
            AutoAttackSettings(attacks=attacks)


def test_a_transfer():
    with pytest.raises(UsageError) as error:
        parsed("autoattack").check("autoattack", Circumstances(10, transfer=True))
    assert str(error.value) == (
        "AutoAttack is for the model that it sees; use pgd for a black-box transfer. "
        "Received: --attack autoattack, --surrogate"
    )


def test_several_replicas():
    with pytest.raises(UsageError) as error:
        parsed("autoattack").check("autoattack", Circumstances(10, replicas=2))
    assert str(error.value) == "AutoAttack runs on one device. Received: --attack autoattack, 2 replicas"
    parsed("autoattack").check("autoattack", Circumstances(10))


@pytest.mark.parametrize(
    "classes, text", [(3, "autoattack"), (2, "autoattack:version=rand"), (2, "autoattack:attacks=apgd-dlr")]
)
def test_too_few_classes_are_said_before_anything_is_attacked(classes, text):
    with pytest.raises(UsageError, match=f"use attacks=apgd-ce.*Received: {classes} classes"):
        parsed(text).check("autoattack", Circumstances(classes))
    parsed("autoattack").check("autoattack", Circumstances(3, stochastic=True))  # whose version has no targets
