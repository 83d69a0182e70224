"""What `mkdocs build` does beside rendering pages: lays out the packages, draws pictures, fills in tables."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from generated import GENERATED
from mkdocs.structure.files import File
from pictures import PICTURES

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTED = ROOT / "build" / "documented"
"""Where the sub-packages stand under their import names; ``paths`` of mkdocstrings."""

_MARKER = re.compile(r"^<!-- generated: (?P<name>[\w-]+) -->$", flags=re.MULTILINE)
_OUTSIDE = re.compile(r"\[(?P<text>[^\]]+)\]\((?P<path>(?:\.\./)+[^)#]+)(?:#[^)]*)?\)")


def on_startup(command: str, dirty: bool) -> None:
    """Give the folders of the repository's root their import names: mkdocstrings reads sources, not what is installed."""
    parts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-dir"]
    for name, folder in parts.items():
        link = DOCUMENTED.joinpath(*name.split("."))
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(ROOT / folder)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pictures, drawn now from the code that runs."""
    for name, draw in PICTURES.items():
        files.append(File.generated(config, f"pictures/{name}.svg", content=draw()))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Fill in what is generated, and name files outside the site where a page links to them."""
    filled = _MARKER.sub(lambda found: GENERATED[found["name"]](), markdown)
    return _OUTSIDE.sub(_named, filled)


def _named(link: re.Match[str]) -> str:
    path = link["path"].replace("../", "")
    text = link["text"]
    return f"`{path}`" if text.strip("`/") == path.rstrip("/") else f"{text} (`{path}`)"
