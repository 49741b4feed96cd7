import sys

import pytest

from acl_tf.errors import UsageError
from acl_tf.launch.command import check_command, worker_command

PROGRAM = [sys.executable, "-P", "-m", "acl_tf"]


@pytest.mark.parametrize(
    "command",
    [
        ["pretrain"],
        ["finetune", "RUN", "--strategy", "multiworker"],
        ["semi-supervised", "RUN", "--strategy=auto"],
        ["evaluate", "RUN", "--strategy", "none", "--strategy", "auto"],
        ["pretrain", "--output", "--strategy-of-mine"],
    ],
)
def test_can_be_launched(command):
    check_command(command)


@pytest.mark.parametrize(
    "command, message",
    [
        (
            [],
            "Name the command to launch, after --. Known: pretrain, finetune, semi-supervised, evaluate. "
            "Received: no command",
        ),
        (
            ["pretrian", "--epochs", "1"],
            'This command cannot be launched; did you mean "pretrain"? '
            "Known: pretrain, finetune, semi-supervised, evaluate. Received: 'pretrian'",
        ),
        (
            ["show", "RUN"],
            "This command cannot be launched. Known: pretrain, finetune, semi-supervised, evaluate. Received: 'show'",
        ),
        (
            ["pretrain", "--strategy", "none"],
            "Launched workers share one run: leave --strategy out, or make it multiworker. Received: --strategy none",
        ),
        (
            ["finetune", "RUN", "--strategy=multiworker", "--strategy=mirrored"],
            "Launched workers share one run: leave --strategy out, or make it multiworker. "
            "Received: --strategy mirrored",
        ),
    ],
)
def test_cannot_be_launched(command, message):
    with pytest.raises(UsageError) as error:
        check_command(command)
    assert str(error.value) == message


def test_first_attempt():
    assert worker_command(["pretrain", "--epochs", "2"], 1) == [*PROGRAM, "pretrain", "--epochs", "2"]


def test_later_attempts_resume():
    assert worker_command(["evaluate", "RUN", "--"], 2) == [*PROGRAM, "evaluate", "--resume", "RUN", "--"]
    assert worker_command(["evaluate", "RUN", "--resume"], 3) == [*PROGRAM, "evaluate", "RUN", "--resume"]


@pytest.mark.parametrize("seconds, text", [(60.0, "60"), (0.5, "0.5")])
def test_startup_timeout(seconds, text):
    assert worker_command(["pretrain"], 1, seconds) == [*PROGRAM, "pretrain", "--startup-timeout", text]
    resumed = [*PROGRAM, "pretrain", "--resume", "--startup-timeout", text]
    assert worker_command(["pretrain"], 2, seconds) == resumed
