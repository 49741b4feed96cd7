"""What is built from the tree, and that wheel, sdist and editable install work where they are installed."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

import pytest

import acl_tf

ROOT = Path(__file__).resolve().parents[2]
# Where the folders of the tree are installed.
PACKAGES = {"acl_tf": "acl_tf", "cli": "acl_tf/cli", "configs": "acl_tf/configs", "hub": "acl_tf/hub"}
PROBE = """
import importlib.resources, json, acl_tf.cli, acl_tf.configs, acl_tf.hub
packages = [acl_tf, acl_tf.cli, acl_tf.configs, acl_tf.hub]
folders = [folder for folder in importlib.resources.files(acl_tf.configs).iterdir() if folder.is_dir()]
recipes = [file.name for folder in folders for file in folder.iterdir() if file.name.endswith(".yaml")]
print(json.dumps({"folders": [package.__path__[0] for package in packages], "recipes": sorted(recipes)}))
"""

pytestmark = pytest.mark.slow


def run(*command: str | Path, folder: Path) -> str:
    """Returns what the command prints; nothing but its own environment tells it where to find acl_tf."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    done = subprocess.run(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.fail(f"{' '.join(map(str, command))}:\n{done.stdout}{done.stderr}", pytrace=False)
    return done.stdout


def pip_install(python: Path, *arguments: str | Path) -> None:
    """Installs acl-tf alone, also where the tests' own environment, which the new one sees, has it already."""
    options = ("--no-deps", "--no-index", "--no-build-isolation", "--ignore-installed")
    run(sys.executable, "-m", "pip", "--python", python, "install", *options, *arguments, folder=python.parent)


@pytest.fixture(scope="module")
def tree_files() -> list[PurePosixPath]:
    """The files that git would commit: a build must not pick up anything else."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("the tree is not a git checkout")
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", folder=ROOT)
    return [PurePosixPath(name) for name in listed.split("\0") if name and (ROOT / name).exists()]


@pytest.fixture(scope="module")
def tree(tree_files, tmp_path_factory) -> Path:
    """A copy of the tree to build in."""
    copy = tmp_path_factory.mktemp("tree")
    for file in tree_files:
        (copy / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, copy / file)
    return copy


@pytest.fixture(scope="module")
def sdist(tree, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    run(sys.executable, "-m", "build", "--no-isolation", "--sdist", "--outdir", folder, tree, folder=folder)
    (archive,) = folder.iterdir()
    return archive


def build_wheel(source: Path, folder: Path) -> Path:
    run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", folder, source, folder=folder)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(tree, tmp_path_factory) -> Path:
    return build_wheel(tree, tmp_path_factory.mktemp("wheel"))


def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_wheel_holds_the_packages_and_nothing_else(tree_files, wheel):
    expected = set()
    for file in tree_files:
        top, *rest = file.parts
        if top in PACKAGES and (
            file.suffix == ".py"
            or file.name == "py.typed"
            or (top, file.suffix) == ("configs", ".yaml")
            or "templates" in file.parts
        ):
            expected.add(str(PurePosixPath(PACKAGES[top], *rest)))
    metadata = f"acl_tf-{acl_tf.__version__}.dist-info"
    contents = names(wheel)
    assert {name for name in contents if not name.startswith(metadata)} == expected
    assert f"{metadata}/licenses/LICENSE" in contents


def test_sdist_builds_the_same_wheel(sdist, wheel, tmp_path):
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    source = tmp_path / f"acl_tf-{acl_tf.__version__}"
    assert (source / "LICENSE").is_file()
    assert (source / "tests/packaging" / Path(__file__).name).is_file()
    assert names(build_wheel(source, tmp_path)) == names(wheel)


@pytest.mark.parametrize("kind", ["wheel", "sdist", "editable"])
def test_install(kind, tree, tree_files, request, tmp_path):
    environment, elsewhere = tmp_path / "environment", tmp_path / "elsewhere"
    elsewhere.mkdir()
    run(sys.executable, "-m", "venv", "--without-pip", environment, folder=tmp_path)
    binaries = environment / "bin"
    site_packages = Path(
        run(binaries / "python", "-c", "import site; print(site.getsitepackages()[0])", folder=tmp_path).strip()
    )
    # The dependencies are those of the tests' own environment. Its own acl_tf, if editable, is not reached this way.
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    source = ["--editable", tree] if kind == "editable" else [request.getfixturevalue(kind)]
    pip_install(binaries / "python", *source)

    if kind == "editable":
        folders = [tree / folder for folder in PACKAGES]
    else:
        folders = [site_packages / folder for folder in PACKAGES.values()]
    recipes = sorted(file.name for file in tree_files if file.parts[0] == "configs" and file.suffix == ".yaml")
    found = json.loads(run(binaries / "python", "-c", PROBE, folder=elsewhere))
    assert found == {"folders": [str(folder) for folder in folders], "recipes": recipes}
    assert "Usage: acl-tf" in run(binaries / "acl-tf", "--help", folder=elsewhere)
    assert acl_tf.__version__ in run(binaries / "acl-tf", "--version", folder=elsewhere)
