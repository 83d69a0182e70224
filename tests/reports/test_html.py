"""The HTML report as a file: one policy, one escape, a size that opens quickly; what a browser makes of it is tested there."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from longbench_run.reports.html_figures import InlineFigures
from longbench_run.reports.report import write_report

VOID = {"meta", "br", "img", "link", "input", "hr"}


class Page(HTMLParser):
    """Elements with their attributes, text by element, and whether every element is closed where it should be."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts, self._open = [], {}, []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        tag = self._open[-1] if self._open else ""
        self.texts.setdefault(tag, []).append(data)


@pytest.fixture(scope="module")
def path(realistic_report):
    return realistic_report / "report.html"


@pytest.fixture(scope="module")
def page(path):
    return Page(path.read_text(encoding="utf-8"))


def digest(text):
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def test_the_policy_allows_this_style_and_this_script_and_nothing_else(page):
    (policy,) = [a["content"] for tag, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    (style,), (script,) = page.texts["style"], page.texts["script"]
    assert dict(part.strip().split(" ", 1) for part in policy.split(";")) == {
        "default-src": "'none'",
        "style-src": digest(style),
        "script-src": digest(script),
        "img-src": "'self' data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_no_element_brings_style_or_script_of_its_own_and_nothing_comes_from_elsewhere(page):
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name == "style" or name.startswith("on")], tag
        for name in ("src", "href", "data", "action"):
            assert attributes.get(name, "#").startswith(("#", "data:image/png;base64,")), (tag, attributes)


def test_every_cell_of_a_table_leads_to_its_samples(page):
    ids = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    links = [a["href"] for tag, a in page.elements if tag == "a" and a["href"].startswith("#cell-")]
    assert len(links) == len(set(links)) == 6 * 4 * 2
    assert {link[1:] for link in links} <= ids


def test_a_sample_is_shown_with_all_that_the_record_holds(make, tmp_path):
    record = make.passkey(
        method="none",
        length=512,
        index=3,
        right=False,
        prediction="one\ntwo",
        prompt_head="Once upon",
        prompt_tail="What is it?",
        answers=("12345", "five"),
        tokens_truncated=17,
        truncated_at=40,
        evidence_survived=False,
        document="d<1>",
    )
    run = make.run(
        tmp_path / "run", [record], methods=("none",), lengths=(512,), tasks=make.header().tasks[:1]
    )
    texts = Page(write_report([run], tmp_path, formats=["html"])[0].read_text()).texts
    assert texts["dd"] == [
        "ok",
        "accuracy 0.0000",
        "d<1>",
        "0.33",
        "502",
        "17 tokens after token 40",
        "cut off",
    ]
    assert texts["pre"][1:] == ["Once upon", "What is it?", "12345", "five", "one\ntwo"]
    assert "seed 0, sample 3" in texts["h3"]


def test_samples_that_failed_come_first_and_the_rest_is_counted(make, tmp_path, monkeypatch):
    monkeypatch.setattr("longbench_run.reports.cell_samples.MOST_SAMPLES", 3)
    records = [make.passkey(method="none", length=512, index=index, right=True) for index in range(4)]
    records.append(make.failed(method="none", length=512, index=4))
    run = make.run(
        tmp_path / "run", records, methods=("none",), lengths=(512,), tasks=make.header().tasks[:1]
    )
    texts = Page(write_report([run], tmp_path, formats=["html"])[0].read_text()).texts
    shown = [text for text in texts["h3"] if text.startswith("seed")]
    assert shown == ["seed 0, sample 4", "seed 0, sample 0", "seed 0, sample 1"]
    assert texts["summary"] == ["none at 512, passkey, protocol passkey-v1: 5 samples, 1 of them failed"]
    assert any(text.startswith("2 more samples: `longbench-run show") for text in texts["p"])


@pytest.mark.parametrize(
    "samples", [1100, pytest.param(5000, marks=[pytest.mark.slow, pytest.mark.exhaustive])]
)
def test_more_samples_than_are_shown_leave_the_page_below_two_megabytes(make, tmp_path, samples):
    records = (
        make.passkey(method=method, length=length, index=index, right=index % 3 == 0)
        for method in ("none", "pi", "yarn", "abf", "self_extend")
        for length in (512, 1024, 2048, 4096)
        for index in range(samples)
    )
    run = make.run(tmp_path / "run", records, tasks=make.header().tasks[:1])
    page = write_report([run], tmp_path / "out", formats=["html"])[0]
    assert page.stat().st_size < 2_000_000
    details = sorted((tmp_path / "out" / "details").iterdir())
    assert len(details) == 20
    texts = Page(details[0].read_text(encoding="utf-8")).texts
    assert len([text for text in texts["h3"] if text.startswith("seed")]) == 1000


def test_pages_of_samples_from_an_earlier_report_are_gone(make, tmp_path, monkeypatch):
    records = [make.passkey(method="none", length=n, index=0, right=True) for n in (512, 1024)]
    tasks = make.header().tasks[:1]
    run = make.run(tmp_path / "run", records, methods=("none",), lengths=(512, 1024), tasks=tasks)
    monkeypatch.setattr("longbench_run.reports.html.MOST_BYTES", 1000)
    write_report([run], tmp_path, formats=["html"])
    assert len(list((tmp_path / "details").iterdir())) == 2
    monkeypatch.undo()
    write_report([run], tmp_path, formats=["html"])
    assert list((tmp_path / "details").iterdir()) == []


def test_a_figure_in_a_page_draws_what_its_file_draws(path):
    figures = InlineFigures()
    file = path.parent / "figures" / "passkey-accuracy-bundled.svg"
    inline = str(figures.inline(file, name="f0", alt='a "b" & <c>'))
    original = file.read_text(encoding="utf-8")
    for tag in ("path", "use", "g"):
        # Letters are not in the figure any more, but with the page.
        shared = len(re.findall("<path ", figures.glyphs)) if tag == "path" else 0
        assert len(re.findall(f"<{tag}[ >]", inline)) + shared == len(re.findall(f"<{tag}[ >]", original)), (
            tag
        )
    ids = set(re.findall(' id="([^"]+)"', inline)) | set(re.findall(' id="([^"]+)"', figures.glyphs))
    used = set(re.findall('href="#([^"]+)"', inline)) | set(re.findall(r"url\(#([^)]+)\)", inline))
    assert used <= ids
    assert "style=" not in inline
    assert 'aria-label="a &quot;b&quot; &amp; &lt;c&gt;"' in inline
    again = str(figures.inline(file, name="f1", alt="x"))
    assert not set(re.findall(' id="([^"]+)"', again)) & set(re.findall(' id="([^"]+)"', inline))
