"""Cases take turns, each in processes of its own."""

import os

import pytest

pytestmark = pytest.mark.usefixtures("importable")


def build(spec: str):
    """A step that counts; of spec `bad` there is none."""
    from turns import Built

    assert spec != "bad"
    taken = []

    def step() -> tuple[str, int]:
        taken.append(spec)
        return spec, len(taken)

    return Built(step, "CPU", lambda: {"spec": spec, "process": os.getpid()})


def test_turns():
    from turns import take_turns

    alone, team = take_turns(build, [("a",), ("b", "c")], rounds=2)
    assert alone.results == [("a", 3), ("a", 4)]  # after two that warm up
    assert team.results == [("b", 3), ("b", 4)]
    assert [about["spec"] for case in (alone, team) for about in case.about] == ["a", "b", "c"]
    assert len({about["process"] for case in (alone, team) for about in case.about} | {os.getpid()}) == 4
    for case in (alone, team):
        assert case.device == "CPU"
        assert len(case.seconds) == 2
        assert min(*case.seconds, case.first_seconds) > 0


def test_a_process_that_dies(capfd):
    from turns import take_turns

    with pytest.raises(SystemExit) as end:
        take_turns(build, [("a",), ("bad",)], rounds=1)
    assert end.value.code == "The process that should time bad died; see above what it says."
    assert "AssertionError" in capfd.readouterr().err
