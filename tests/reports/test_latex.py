"""LaTeX that a strict reader accepts, that pdflatex compiles where there is one, and that prints what was given."""

import re
import shutil
import subprocess

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from matplotlib.figure import Figure as MatplotlibFigure

from longbench_run.reports.content import LoadedRun, report_blocks
from longbench_run.reports.document import (
    Figure,
    Heading,
    Items,
    Listing,
    Paragraph,
    Table,
    cell,
    code,
    strong,
    text,
)
from longbench_run.reports.figures import save_figure
from longbench_run.reports.latex import latex_table, write_latex
from longbench_run.reports.latex_text import escaped, latex
from longbench_run.reports.report import with_file_names
from longbench_run.reports.text import visible
from longbench_run.results.store import read_header
from longbench_run.results.table import load

HOSTILE = (
    r"\input{/etc/passwd}",
    r"}}\end{document}\immediate\write18{id}",
    "50% of $x_1^2$ & #3 ~ {a} \\ | < > \" ' `",
    "<script>alert(1)</script>",
    "\x1b[31mred\x1b[0m\r\n\ttab",
    "\u202eright to left\u202c \u05e9\u05dc\u05d5\u05dd",
    "lone \ud800 surrogate",
    "naïve Ångström, Łódź, 東京, 🙂",
    "--- ,, '' `` ?` !` <<>>",
    "[1] in brackets",
    "*starred",
    "x" * 1000,
)
CHARACTERS = {
    "textbackslash": "\\",
    "textasciitilde": "~",
    "textasciicircum": "^",
    "textasciigrave": "`",
    "textquotedbl": '"',
    "textquotesingle": "'",
    "textbar": "|",
    "textless": "<",
    "textgreater": ">",
}
COMMANDS = {
    *CHARACTERS,
    *("S", "textperiodcentered", "textpm", "texttimes", "textmu", "textdegree", "textendash", "textemdash", "ldots"),
    *("ensuremath", "le", "ge", "approx", "rightarrow", "ss", "ae", "AE", "o", "O", "l", "L", "oe", "OE", "i"),
    *("u", "r", "H", "v", "d", "c", "k"),
    *("texttt", "textbf", "allowbreak", "caption", "label", "input", "includegraphics", "resizebox", "ifdim", "else"),
    *("fi", "width", "linewidth", "centering", "small", "smallskip", "footnotesize", "raggedright", "arraybackslash"),
    *("toprule", "midrule", "bottomrule", "par", "item", "begin", "end", "section", "subsection", "subsubsection"),
    *("LARGE", "bfseries", "ttfamily", "documentclass", "usepackage", "IfFileExists", "floatplacement", "setlength"),
    *("parindent", "parskip", "emergencystretch"),
}  # fmt: skip
"""All that this project's LaTeX says; a command that a label brought along is none of these, or breaks the nesting."""
ENVIRONMENTS = {"document", "table", "tabular", "figure", "itemize", "quote"}
ALLOWED_INPUT = re.compile(r"\\input\{tables/[\w.-]+\.tex\}")


def read_strictly(source):
    """Fail where braces or environments do not nest, or a command or an active character is not one of the project's."""
    assert source.isascii()
    source = re.sub(r"^% Needs .*$|%$", "", source, flags=re.M)
    assert not re.search(r"(?<!\\)[%$#^]|(?<!\\)~(?!~)(?<!~~)", source)
    assert not re.search(r"(?<!\\)_", re.sub(r"\\(label|input|includegraphics)\{+[\w.:/-]+", "", source))
    depth, environments = 0, []
    for found in re.finditer(r"\\([A-Za-z]+)\*?(?:\{(\w+)\})?|\\(.)|([{}])", source):
        command, argument, symbol, brace = found.groups()
        if command in {"begin", "end"}:
            assert argument in ENVIRONMENTS
            if command == "begin":
                environments.append((argument, depth))
            else:
                assert environments.pop() == (argument, depth)
        elif command:
            assert command in COMMANDS, command
            if command == "input":
                assert ALLOWED_INPUT.match(source, found.start())
        elif symbol:
            assert symbol in "{}$&#%_\\`'^~=.\""
        elif brace:
            depth += 1 if brace == "{" else -1
            assert depth >= 0
    assert depth == 0
    assert environments == []


def unescaped(source):
    """Return the letters that escaped text prints, for ASCII."""
    source = source.replace("{}", "\0")
    source = re.sub(r"\\([A-Za-z]+)\0", lambda found: CHARACTERS[found[1]], source)
    return re.sub(r"\\([{}$&#%_])", r"\1", source).replace("\0", "")


@given(st.text(st.characters(codec="ascii")))
@example("\\{}")
@example("a--b,,c---")
def test_ascii_is_printed_letter_by_letter(content):
    assert unescaped(escaped(content)) == visible(content)
    assert not re.search(r"--|,,|''|``|[?!]`|<<|>>", escaped(content))


@given(st.text(st.characters()))
def test_whatever_a_text_holds_it_is_read_strictly(content):
    for kind in (code, strong, str):
        read_strictly(f"\\begin{{quote}}{latex(text(kind(content)))}\\end{{quote}}")


@pytest.mark.parametrize("content", HOSTILE)
def test_hostile_text_is_read_strictly_wherever_it_stands(content, tmp_path):
    write_latex(blocks_of(content), tmp_path)
    for path in [tmp_path / "report.tex", *(tmp_path / "tables").iterdir()]:
        read_strictly(path.read_text())
    rows = re.findall(r"^.*\\\\$", (tmp_path / "tables" / "a.b.tex").read_text(), re.M)
    assert [len(re.findall(r"(?<!\\)&", row)) for row in rows] == [2, 2, 2, 2]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("ï", r"\"{i}"),
        ("Å", r"\r{A}"),
        ("ź", r"\'{z}"),
        ("ł", r"\l{}"),
        ("東", "U+6771"),
        ("\u05e9", "U+05E9"),
        ("\ud800", r"\textbackslash{}ud800"),
        ("\u202e", r"\textbackslash{}u202e"),
        ("2\u00d7", r"2\texttimes{}"),
    ],
)
def test_letters_beyond_ascii_are_composed_or_spelled_out(content, expected):
    assert escaped(content) == expected


def test_a_row_does_not_begin_with_what_the_line_before_would_take():
    assert latex(text("[1] in brackets")) == "{}[1] in brackets"
    assert latex(text("*starred")) == "{}*starred"
    assert latex(text("1 [2]")) == "1 [2]"


def test_the_best_is_bold_and_nothing_else():
    table = latex_table(small_table(rows=((cell("a"), cell("1.0", is_best=True)), (cell("b"), cell("0.5")))))
    assert "a & \\textbf{1.0} \\\\" in table
    assert table.count("\\textbf") == 1


def test_caption_label_and_notes_are_there():
    table = latex_table(small_table(notes=(text("first note"), text("second note"))))
    assert "\\caption{About it}" in table
    assert "\\label{tab:small}" in table
    assert table.index("\\bottomrule") < table.index("first note") < table.index("second note")


def test_long_tables_go_on_and_lose_no_row():
    table = latex_table(small_table(rows=tuple((cell(f"row{n}"), cell(str(n))) for n in range(100))))
    assert re.findall(r"^row(\d+) & ", table, re.M) == [str(n) for n in range(100)]
    assert table.count("\\begin{table}") == 3
    assert table.count("\\label{") == 1
    assert table.count("(continued)") == 2
    read_strictly(table)


def test_a_table_without_rows_is_one():
    table = latex_table(small_table(rows=()))
    assert table.count("\\begin{table}") == 1
    read_strictly(table)


def test_a_report_has_every_table_and_figure_and_the_same_bytes_each_time(realistic_run, tmp_path):
    blocks = tuple(with_file_names(report_blocks([loaded(realistic_run)])))
    first, again = tmp_path / "first", tmp_path / "again"
    for folder in (first, again):
        folder.mkdir()
        write_latex(blocks, folder)
    document = (first / "report.tex").read_text()
    for block in blocks:
        if isinstance(block, Table):
            assert document.count(f"\\input{{tables/{block.name}.tex}}") == 1
            read_strictly((first / "tables" / f"{block.name}.tex").read_text())
        if isinstance(block, Figure):
            assert document.count(f"\\includegraphics{{{{figures/{block.name}}}.pdf}}") == 1
    read_strictly(document)
    paths = [path.relative_to(first) for path in sorted(first.rglob("*.tex"))]
    assert len(paths) == 1 + sum(isinstance(block, Table) for block in blocks)
    assert all((first / path).read_bytes() == (again / path).read_bytes() for path in paths)


def test_pdflatex_compiles_hostile_text_and_reads_no_other_file(tmp_path):
    if shutil.which("pdflatex") is None:
        pytest.skip("needs pdflatex, and this machine has none")
    (tmp_path / "figures").mkdir()
    blocks = tuple(with_file_names(block for content in HOSTILE for block in blocks_of(content)))
    for block in blocks:
        if isinstance(block, Figure):
            save_figure(block.draw("paper"), tmp_path / "figures" / block.name, title="t", description="d")
    write_latex(blocks, tmp_path)
    command = [
        "pdflatex",
        "-interaction=nonstopmode",
        "-halt-on-error",
        "-no-shell-escape",
        "-recorder",
        "report",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:].decode(errors="replace")
    assert (tmp_path / "report.pdf").stat().st_size > 10_000
    read = {
        line.split()[1] for line in (tmp_path / "report.fls").read_text().splitlines() if line[:5] == "INPUT"
    }
    assert sum(name.startswith("tables/") for name in read) == len(HOSTILE)
    assert not any("passwd" in name for name in read)


def loaded(run):
    return LoadedRun("run", read_header(run), load(run))


def small_table(**changes):
    values = {
        "name": "small",
        "caption": text("About it"),
        "head": (text("method"), text("4k")),
        "rows": ((cell("a"), cell("1")),),
    }
    return Table(**{**values, **changes})


def blocks_of(content):
    """Return every kind of block, with a text in every place that has one."""

    def draw(style):
        figure = MatplotlibFigure(figsize=(2, 1))
        figure.add_subplot().plot([0, 1])
        return figure

    lines = text(content), text(code(content)), text(strong(content), " and ", code(content))
    yield from (Heading(text=lines[1], level=level) for level in (1, 2, 3, 4))
    yield from (Paragraph(text=line) for line in lines)
    yield Items(items=lines)
    yield Items(items=())
    yield Listing(text=visible(content) + "\n  indented")
    rows = tuple((cell(line), cell("1 [0, 2]", is_best=True), cell(line)) for line in lines)
    head = text(content), text("4k"), text(code(content))
    yield Table(name="a.b", caption=lines[2], head=head, rows=rows, notes=lines)
    yield Figure(name="a.b", title=content, alt=content, caption=lines[2], draw=draw)
