"""One name in a consumer's environment: `commonspace`, whatever else is called pipeline there."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.checkout import REPOSITORY

LOOK = """
import sys
import commonspace
from commonspace.pipeline.cli.app import app
import pipeline, encoders
commonspace.open, commonspace.Space, commonspace.EncoderSpec, commonspace.CommonspaceError
assert (pipeline.OWNER, encoders.OWNER) == ("another team", "another team")
foreign = [name for name in sys.modules if name.startswith(("pipeline.", "encoders."))]
assert not foreign, foreign
print(commonspace.__file__)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's files, where an installer would put them."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=REPOSITORY, check=True, capture_output=True,
    )  # fmt: skip
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


@pytest.fixture
def crowded(tmp_path: Path) -> Path:
    """The folder of a team that has packages of these names itself."""
    for name in ("pipeline", "encoders"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text('OWNER = "another team"\n')
    return tmp_path


def python(*arguments: str, cwd: Path, path: Path | None = None) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"PYTHONPATH": str(path)} if path else {}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_wheel_holds_one_package(site: Path) -> None:
    names = {path.name for path in site.iterdir() if not path.name.endswith(".dist-info")}
    assert names == {"commonspace"}
    package = site / "commonspace"
    for folder in ("pipeline", "encoders"):
        packed = {path.relative_to(package) for path in (package / folder).rglob("*.py")}
        assert packed == {
            path.relative_to(REPOSITORY) for path in (REPOSITORY / folder).rglob("*.py")
        }
    assert (package / "py.typed").is_file()
    assert not list(site.rglob("test_*.py"))


def test_the_wheel_beside_packages_of_the_same_names(site: Path, crowded: Path) -> None:
    assert Path(python("-c", LOOK, cwd=crowded, path=site)).is_relative_to(site)
    assert "search" in python("-m", "commonspace", "--help", cwd=crowded, path=site)


def test_a_checkout_beside_packages_of_the_same_names(crowded: Path) -> None:
    assert Path(python("-c", LOOK, cwd=crowded)).is_relative_to(REPOSITORY)


def test_an_unknown_name_is_an_attribute_error() -> None:
    import commonspace

    assert set(commonspace.__all__) <= set(dir(commonspace))
    with pytest.raises(AttributeError, match="has no attribute 'opne'"):
        commonspace.opne  # noqa: B018
