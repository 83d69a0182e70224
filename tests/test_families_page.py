"""The page on families names those that the tests hold, and no others."""

from __future__ import annotations

import re

from longbench_run.harness.testing import FAMILIES


def test_the_page_names_every_family_of_the_contract(root):
    page = (root / "docs" / "families.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}

    # falcon is the refused one, held by tests/harness/methods/test_families.py.
    assert named - {"falcon"} == set(FAMILIES)
