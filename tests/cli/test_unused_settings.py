"""A setting that the chosen class does not use is an error that names the keys it has."""

import pytest

from acl_tf.cli import run


@pytest.mark.parametrize(
    "command, message",
    [
        (
            ["pretrain", "--variant", "a2a", "--set", "objective.alpha=7"],
            "Unknown configuration key objective.alpha. Known there: variant, temperature. Received: 7",
        ),
        (
            ["finetune", "random:resnet18", "--method", "standard", "--set", "method.beta=9"],
            "Unknown configuration key method.beta. Known there: name, mode. Received: 9",
        ),
        (
            ["pretrain", "--optimizer", "adamw", "--set", "optimizer.trust_coefficient=1"],
            "Unknown configuration key optimizer.trust_coefficient. Known there: name, learning_rate, warmup_epochs, "
            "warmup_from, rate_per, cosine_epochs, final_learning_rate, weight_decay. Received: 1",
        ),
        (
            ["pretrain", "--variant", "s2s", "--set", "attack.epsilon=4/255"],
            "Unknown configuration key attack, a section that nothing uses of what is chosen. Known there: data, "
            "order, augmentation, model, objective, optimizer, training. Received: {'epsilon': '4/255'}",
        ),
        (
            ["pretrain", "--set", "attack.step=3"],
            'Unknown configuration key attack.step; did you mean "steps"? Known there: name, norm, epsilon, step_size, '
            "steps, start, momentum, clip_start, sparsity. Received: 3",
        ),
        (
            ["pretrain", "--order", "shufled"],
            "Configuration key order.name: expected one of shuffled; did you mean \"shuffled\"? Received: 'shufled'",
        ),
    ],
)
def test_it_is_refused(command, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(command) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"acl-tf: error: {message}"
    assert not list(tmp_path.iterdir())
