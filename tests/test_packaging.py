"""What is installed: one top-level name, every package, every data file, and one version."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PARTS = PROJECT["tool"]["setuptools"]["package-dir"]  # import name -> folder

# Distributions that are declared but never imported by name, with who needs them.
USED_BY_OTHERS: dict[str, str] = {
    "accelerate": "transformers imports it where a device map is given",
    "bitsandbytes": "transformers imports it where weights are to be quantized",
    "peft": "transformers imports it where an adapter is loaded",
}

# Distributions whose version another one fixes: who imports both declares only the other.
PART_OF = {"pydantic-core": "pydantic", "tokenizers": "transformers"}


NOT_SHIPPED = {"__pycache__", "baselines"}
"""Folders that no wheel has; baselines are for this repository's CI."""


def files_of(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file() and not NOT_SHIPPED & set(p.parts))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Build the wheel from a copy: setuptools leaves build folders, and takes stale files out of old ones."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in [*PARTS.values(), "pyproject.toml", "README.md", "LICENSE"]:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source / name)
    command = [
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(built),
        str(source),
    ]
    subprocess.run([sys.executable, "-m", "pip", *command], check=True)
    (path,) = built.iterdir()
    return path


@pytest.fixture(scope="module")
def wheel_names(wheel) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_every_folder_with_an_init_is_a_declared_package():
    found = {
        ".".join([name, *init.parent.relative_to(ROOT / folder).parts])
        for name, folder in PARTS.items()
        for init in (ROOT / folder).rglob("__init__.py")
    }

    assert found == set(PROJECT["tool"]["setuptools"]["packages"])


def test_no_module_lies_in_a_folder_without_an_init():
    stray = [
        str(path.relative_to(ROOT))
        for folder in PARTS.values()
        for path in (ROOT / folder).rglob("*.py")
        if not (path.parent / "__init__.py").exists()
    ]

    assert stray == []


def test_the_wheel_has_one_top_level_name(wheel_names):
    version = PROJECT["project"]["version"]

    assert {name.split("/")[0] for name in wheel_names} == {
        "longbench_run",
        f"longbench_run-{version}.dist-info",
    }


def test_the_wheel_holds_every_file_of_the_tree(wheel_names):
    in_tree = {
        f"{name.replace('.', '/')}/{path.relative_to(ROOT / folder).as_posix()}"
        for name, folder in PARTS.items()
        for path in files_of(ROOT / folder)
    }

    assert {name for name in wheel_names if name.startswith("longbench_run/")} == in_tree


@pytest.mark.parametrize("part", ["harness", "tasks", "results", "reports"])
def test_each_part_tells_type_checkers_that_it_is_typed(wheel_names, part):
    assert f"longbench_run/{part}/py.typed" in wheel_names


def test_the_wheel_carries_a_model_small_enough_to_ship(wheel):
    with zipfile.ZipFile(wheel) as archive:
        weights = {i.filename: i.file_size for i in archive.infolist() if i.filename.endswith(".safetensors")}

    assert [Path(name).parts[:3] for name in weights] == [("longbench_run", "harness", "reference_model")]
    assert sum(weights.values()) < 20e6


def test_the_wheel_carries_its_licence(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith("/licenses/LICENSE"))
        text = archive.read(name).decode()

    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text


def test_an_installed_wheel_does_not_need_the_checkout(wheel, tmp_path):
    """Imported from the wheel alone, each part is found there and brings its data along."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    script = (
        "import importlib, importlib.resources as resources\n"
        f"for name in {list(PARTS)!r}:\n"
        "    module = importlib.import_module(name)\n"
        "    print(module.__file__, resources.files(name).joinpath('py.typed').is_file())\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
    )

    expected = [f"{tmp_path / name.replace('.', '/') / '__init__.py'} True" for name in PARTS]
    assert run.stdout.splitlines() == expected


def test_the_version_has_one_source():
    from longbench_run import harness

    assert importlib.metadata.version("longbench-run") == PROJECT["project"]["version"]
    assert harness.__version__ == PROJECT["project"]["version"]


def test_the_command_is_the_cli():
    (command,) = importlib.metadata.entry_points(group="console_scripts", name="longbench-run")

    assert command.value == "longbench_run.harness.cli:main"
    assert callable(command.load())


def test_the_changelog_knows_the_version():
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)

    assert headings[0] == "Unreleased" or headings[0] == PROJECT["project"]["version"]


def imported_distributions() -> set[str]:
    """Return the distributions that the four parts import, wherever in a file the import stands."""
    by_module = importlib.metadata.packages_distributions()
    modules = set()
    for folder in PARTS.values():
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    modules |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.level == 0:
                    modules.add(node.module.split(".")[0])
                elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
                    modules |= {a.value.split(".")[0] for a in node.args if isinstance(a, ast.Constant)}
    modules -= {*sys.stdlib_module_names, "longbench_run"}
    names = {normalised(by_module.get(module, [module])[0]) for module in modules}
    return {PART_OF.get(name, name) for name in names}


def normalised(requirement: str) -> str:
    return re.split(r"[ \[<>=!~;]", requirement)[0].lower().replace("_", "-")


def test_dependencies_are_what_the_code_imports():
    """One too few breaks a fresh machine; one too many is installed by everybody for nothing."""
    extras = PROJECT["project"]["optional-dependencies"].values()
    core = {normalised(r) for r in PROJECT["project"]["dependencies"]}
    optional = {normalised(r) for group in extras for r in group}
    imported = imported_distributions()

    assert imported - core - optional == set()
    assert core - imported - set(USED_BY_OTHERS) == set()
    assert optional - imported - set(USED_BY_OTHERS) == set()
