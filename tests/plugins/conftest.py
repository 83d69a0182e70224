"""The packages beside this file, installed as a user would install them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
collect_ignore = ["demo", "broken", "shadow"]  # their tests run where they are installed


def install(name: str, target: Path, source: Path) -> str:
    """Install a package from a copy of its folder, without a network: a build leaves folders behind."""
    shutil.copytree(HERE / name, source)
    command = [
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
        "--no-build-isolation",
        "--target",
        str(target),
    ]
    subprocess.run([sys.executable, "-m", "pip", *command, str(source)], check=True)
    return str(target)


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    """Return a function from names of packages to the environment of a process that has them."""
    folder, done = tmp_path_factory.mktemp("plugins"), {}

    def environment(*names: str) -> dict[str, str]:
        for name in names:
            if name not in done:
                done[name] = install(name, folder / name, folder / f"{name}-source")
        path = [*(done[name] for name in names), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {**os.environ, "PYTHONPATH": os.pathsep.join(path)}

    return environment
