import re
import subprocess
import sys

import pytest
from click.testing import CliRunner

import acl_tf
from acl_tf import cli, onednn
from acl_tf.cli import COMMANDS

WIDTH = 110


def output(*arguments: str) -> str:
    done = CliRunner().invoke(cli.acl_tf, arguments, prog_name="acl-tf", terminal_width=WIDTH)
    assert done.exit_code == 0, done.output
    return done.output


def test_help_lists_the_commands():
    text = output("--help")
    assert text.startswith("Usage: acl-tf [OPTIONS] COMMAND [ARGS]...")
    listed = re.findall(r"^  ([a-z-]+)  +(\S.*)$", text.split("Commands:")[1], re.MULTILINE)
    assert [name for name, _ in listed] == list(COMMANDS)
    assert all(len(summary) < WIDTH and summary.endswith(".") for _, summary in listed)


def test_no_arguments_show_the_help(capsys):
    assert cli.run([]) == 2
    assert "Usage: acl-tf [OPTIONS] COMMAND" in capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_of_a_command(name, flag):
    text = output(name, flag)
    assert text.startswith(f"Usage: acl-tf {name} ")
    command = COMMANDS[name]
    assert command.name == name
    for parameter in command.params:
        if parameter.param_type_name == "option":
            assert parameter.help and max(parameter.opts, key=len) in text
    assert max(map(len, text.splitlines())) <= WIDTH


@pytest.mark.parametrize("command", [["-m", "acl_tf"], ["-c", "from acl_tf.cli import main; main()"]])
def test_version(command):
    done = subprocess.run([sys.executable, *command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"acl-tf, version {acl_tf.__version__}\n{onednn.describe()}\n"
