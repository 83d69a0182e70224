"""Reports and meetings: what is to be said of them stands in them, once, and where it is called so."""

from __future__ import annotations

import re
from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from longbench_run.tasks.generated.reports import meeting, report

SEEDS = st.integers(0, 2**64)
INDICES = st.integers(0, 10_000)


@given(SEEDS, INDICES, st.integers(1, 8))
def test_the_findings_are_the_sentences_that_the_report_calls_so(seed, index, findings):
    whole = report(seed, index, findings=findings)
    sections = [*whole.findings, *islice(whole.background, 20)]
    called_so = re.findall(
        r"([^.\n]+\.) This is a finding of the report\.", "\n".join(s.text for s in sections)
    )

    assert len(whole.findings) == findings
    assert [found.strip() for found in called_so] == [section.finding for section in whole.findings]
    assert all(section.finding is None for section in islice(whole.background, 5))


@given(SEEDS, INDICES)
def test_each_thing_that_a_meeting_talks_about_is_decided_once(seed, index):
    items = list(islice(meeting(seed, index), 20))
    text = "\n".join(item.text for item in items)

    for item in items:
        name = re.fullmatch(r"What was decided about the (\w+)\?", item.question.question)[1]
        assert re.findall(rf"So let us decide\. (The {name} [^.]+\.)", text) == list(item.question.answers)
        assert all(re.match(r"[A-Z][A-Za-z ]+: \S", line) for line in item.text.split("\n"))
