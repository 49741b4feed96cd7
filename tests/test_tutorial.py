"""The code of the documentation runs as it stands."""

import re
from pathlib import Path

import keras
import pytest

ROOT = Path(__file__).parents[1]


def blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.slow
def test_the_tutorial_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.chdir(tmp_path)
    scope: dict = {"__name__": "tutorial"}
    for block in blocks("docs/tutorial.md"):
        exec(compile(block, "docs/tutorial.md", "exec"), scope)

    history = scope["history"].history
    assert set(history) >= {"loss", "loss_standard", "loss_adversarial", "feature_std"}
    assert all(loss > 0 for loss in history["loss"])
    assert scope["features"].shape == (8, 64)
    assert {type(layer).__module__.split(".")[0] for layer in scope["published"].layers} == {"keras"}
    assert "(8, 64)" in capsys.readouterr().out


@pytest.mark.slow
def test_the_short_form_of_the_readme_runs() -> None:
    (block,) = [block for block in blocks("README.md") if "objective.compile" in block]
    short = block.replace('Encoder("resnet18")', 'Encoder("resnet18", width=0.0625)').replace("epochs=1000", "epochs=1")
    assert short != block
    scope = {"dataset": keras.random.randint((8, 32, 32, 3), 0, 256, seed=0, dtype="uint8").numpy()}
    exec(compile(short, "README.md", "exec"), scope)
    assert int(scope["objective"].step) == 1
