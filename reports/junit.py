"""Two runs compared, as JUnit XML: one test case per cell of the baseline, for CI systems to list."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from longbench_run.reports.comparison import cell_name, difference_text, facts_text, remark
from longbench_run.reports.text import length_label, shortened, visible

if TYPE_CHECKING:
    from longbench_run.results.comparison import ComparedCell, Comparison

_LONGEST_MESSAGE = 1000


def compare_junit(comparison: Comparison, *, is_strict: bool) -> str:
    """Return the XML: regressed is a failure, what the candidate cannot answer for an error.

    Args:
        comparison: What was found.
        is_strict: Whether an inconclusive cell is a failure; else it is skipped.
    """
    cases = [_case(cell, comparison, is_strict=is_strict) for cell in comparison.cells]
    found = [child.tag for case in cases for child in case]
    suite = Element(
        "testsuite",
        name="longbench-run compare",
        tests=str(len(cases)),
        failures=str(found.count("failure")),
        errors=str(found.count("error")),
        skipped=str(found.count("skipped")),
        time="0",
    )
    properties = SubElement(suite, "properties")
    for name, value in (
        ("baseline", comparison.baseline),
        ("candidate", comparison.candidate),
        ("facts", facts_text(comparison)),
    ):
        SubElement(properties, "property", name=name, value=visible(value))
    suite.extend(cases)
    root = Element("testsuites")
    root.append(suite)
    indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def _case(cell: ComparedCell, comparison: Comparison, *, is_strict: bool) -> Element:
    name = f"{cell_name(cell, comparison)}: {cell.method} at {length_label(cell.context_length)}"
    case = Element("testcase", classname="longbench-run.compare", name=visible(name), time="0")
    kind = _kind(cell, is_strict=is_strict)
    if kind is not None:
        parts = (cell.verdict, difference_text(cell, comparison), remark(cell))
        message = visible(shortened(": ".join(part for part in parts if part), _LONGEST_MESSAGE))
        element = SubElement(case, kind, message=message)
        if kind != "skipped":
            element.set("type", cell.verdict)
    return case


def _kind(cell: ComparedCell, *, is_strict: bool) -> str | None:
    """Return the element that a verdict becomes, None where the cell passes."""
    from longbench_run.results.comparison import INCOMPLETE

    if cell.verdict in INCOMPLETE:
        return "error"
    undecided = "failure" if is_strict else "skipped"
    return {"regressed": "failure", "inconclusive": undecided}.get(cell.verdict)
