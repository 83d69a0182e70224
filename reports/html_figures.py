"""Figures within an HTML page: one page holds many, so ids must differ, letters are drawn once, and no style is inline."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from pathlib import Path

from markupsafe import Markup

_SVG = "http://www.w3.org/2000/svg"
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_LONG_NUMBER = re.compile(r"(\d\.\d\d)\d+")
_COORDINATES = frozenset({"d", "x", "y", "points"})
_DROPPED = frozenset({"metadata", "title", "style"})


@dataclass(slots=True)
class InlineFigures:
    """The figures of one page, and the letters that they share."""

    _glyphs: dict[str, str] = field(default_factory=dict)
    """Id -> path of a letter."""

    def inline(self, path: Path, *, name: str, alt: str) -> Markup:
        """Return an SVG file as a part of a page.

        Args:
            path: As `longbench_run.reports.figures.save_figure` wrote it.
            name: Unique in the page; begins its ids.
            alt: The figure in words.
        """
        root = ET.parse(path).getroot()  # noqa: S314 (own file)
        for parent in root.iter():
            for child in list(parent):
                if _local(child.tag) in _DROPPED:
                    parent.remove(child)
        shared = self._take_glyphs(root)
        for element in root.iter():
            _simplify(element, prefix=f"{name}-", shared=shared)
        _drop_unused_ids(root)
        for size in ("width", "height"):
            root.attrib.pop(size, None)
        # What matplotlib says in a style sheet, which a page of many figures cannot have twice.
        root.attrib |= {"stroke-linejoin": "round", "role": "img", "aria-label": alt}
        return Markup(ET.tostring(root, encoding="unicode"))  # noqa: S704 (a drawing, serialised by a library)

    @property
    def glyphs(self) -> Markup:
        """What the page must hold once for its figures to be read."""
        if not self._glyphs:
            return Markup("")
        paths = "".join(self._glyphs.values())
        return Markup(f'<svg class="glyphs" aria-hidden="true"><defs>{paths}</defs></svg>')  # noqa: S704

    def _take_glyphs(self, root: ET.Element) -> frozenset[str]:
        """Move letters out of a figure; return the ids that the page has now."""
        taken = set()
        for definitions in root.iter(f"{{{_SVG}}}defs"):
            for path in list(definitions):
                name = path.get("id", "")
                # Letters alone are scaled from the units of a font; markers and clips are a figure's own.
                if path.get("transform") != "scale(0.015625)" or "style" in path.attrib:
                    continue
                _simplify(path, prefix="", shared=frozenset())
                shape = ET.tostring(path, encoding="unicode")
                if self._glyphs.setdefault(name, shape) == shape:
                    definitions.remove(path)
                    taken.add(name)
        return frozenset(taken)


def _simplify(element: ET.Element, *, prefix: str, shared: frozenset[str]) -> None:
    """Make a page's part of an element: own ids, attributes for styles, no more digits than can be seen."""
    element.tag = _local(element.tag)
    element.text = element.tail = None
    for name, value in list(element.attrib.items()):
        del element.attrib[name]
        local = _local(name)
        if local == "style":
            for declaration in filter(None, (part.strip() for part in value.split(";"))):
                key, _, of_key = declaration.partition(":")
                element.set(key.strip(), _REFERENCE.sub(rf"url(#{prefix}\1)", of_key.strip()))
        elif local == "id":
            element.set("id", f"{prefix}{value}")
        elif local == "href" and value.startswith("#"):
            element.set("href", value if value[1:] in shared else f"#{prefix}{value[1:]}")
        elif local in _COORDINATES:
            element.set(local, " ".join(_LONG_NUMBER.sub(r"\1", value).split()))
        elif local != "xmlns":
            element.set(local, _REFERENCE.sub(rf"url(#{prefix}\1)", value))


def _drop_unused_ids(root: ET.Element) -> None:
    values = [value for element in root.iter() for value in element.attrib.values()]
    used = {value[1:] for value in values if value.startswith("#")}
    used |= {name for value in values for name in _REFERENCE.findall(value)}
    for element in root.iter():
        if element.get("id", "") not in used:
            element.attrib.pop("id", None)


def _local(name: str) -> str:
    return name.rpartition("}")[2]
