"""What is published: a wheel and an sdist that are built, installed in a clean environment, and work there."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT, SEALED
from trader_cli import __version__


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where both lie, made of what git knows."""
    source, made = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("needs a git checkout")
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    for name in filter(None, names):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(made)]
    subprocess.run(command, cwd=source, check=True, capture_output=True, timeout=120)
    return made


def test_both_hold_what_they_need_and_nothing_of_this_machine(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    (sdist,) = built.glob("*.tar.gz")
    assert wheel.name == f"trader_cli-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as opened:
        names = set(opened.namelist())
        metadata = next(opened.read(name).decode() for name in names if name.endswith(".dist-info/METADATA"))
    assert {"trader_cli/py.typed", "trader_cli/web/live.js", "trader_cli/schemas/json/trader.status.1.json"} <= names
    assert {name.partition("/")[0] for name in names} == {"trader_cli", f"trader_cli-{__version__}.dist-info"}
    assert f"Version: {__version__}" in metadata
    for extra in ("serve", "notify", "scale"):
        assert f"Provides-Extra: {extra}" in metadata
    with tarfile.open(sdist) as opened_sdist:
        files = {name.partition("/")[2] for name in opened_sdist.getnames()}
    assert {"README.md", "CHANGELOG.md", "LICENSE", ".env.example", "Makefile", "constraints.txt"} <= files
    assert {"docs/cli.md", "docs/operations.md", "tests/conftest.py"} <= files
    assert not any(name.startswith((".venv", "data", ".env\n")) for name in files)


@pytest.mark.parametrize("kind", ["*.whl", "*.tar.gz"])
def test_installed_in_a_clean_environment_it_trades(kind: str, built: Path, tmp_path: Path) -> None:
    if importlib.util.find_spec("pip") is None:
        pytest.skip("needs pip in this environment")
    (package,) = built.glob(kind)
    place = tmp_path / "env"
    venv.create(place, with_pip=False, symlinks=True)
    site = next((place / "lib").glob("python*")) / "site-packages"
    # The dependencies are this environment's, for there is no network; a path file shows them, and not our checkout.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "--python", str(place / "bin" / "python"), "install", "-q", "--no-deps"]
    done = subprocess.run(
        [*pip, "--no-build-isolation", "--no-index", "--ignore-installed", str(package)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    env = {**SEALED, "PATH": os.environ["PATH"], "HOME": str(tmp_path), "LANG": "C.UTF-8"}
    trader = [str(place / "bin" / "trader")]

    def said(*words: str) -> str:
        return subprocess.run(
            [*trader, *words], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=True
        ).stdout

    assert said("--version") == f"trader {__version__}\n"
    where = subprocess.run(
        [str(place / "bin" / "python"), "-c", "import trader_cli; print(trader_cli.__file__)"],
        cwd=tmp_path, env=env, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert where.startswith(str(place)), "not the checkout"
    assert json.loads(said("cycle", "--json"))["schema"] == "trader.cycle/1"
    assert json.loads(said("ledger", "verify", "--json"))["ok"] is True
