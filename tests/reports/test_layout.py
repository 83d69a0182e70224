"""Lines of a figure: broken by what they measure."""

from hypothesis import given
from hypothesis import strategies as st

from longbench_run.reports.figures import house_style
from longbench_run.reports.layout import text_width, wrapped

WORDS = st.lists(st.text(st.characters(codec="ascii", categories=("L", "N", "P")), min_size=1), min_size=1)


@given(WORDS, st.floats(20, 400), st.sampled_from([6.5, 8.0, 17.0]))
def test_no_line_is_wider_than_asked_and_no_letter_is_lost(words, width, size):
    with house_style():
        lines = wrapped(" ".join(words), size=size, width=width)
        assert all(text_width(line, size) <= width or len(line) == 1 for line in lines)
    assert "".join(lines).replace(" ", "") == "".join(words)


def test_width_is_that_of_the_fonts_own_advances():
    from fontTools.ttLib import TTFont
    from matplotlib.font_manager import findfont

    font = TTFont(findfont("DejaVu Sans"))
    advances, glyphs = font["hmtx"], font.getBestCmap()
    for text in ("illi", "WWMM", "a sentence of several words"):
        expected = sum(advances[glyphs[ord(char)]][0] for char in text) * 10 / font["head"].unitsPerEm
        with house_style():
            assert abs(text_width(text, 10.0) - expected) < 0.05 * expected + 1


def test_every_line_but_the_first_is_indented():
    with house_style():
        first, *others = wrapped("one two three four five six", size=8.0, width=60.0, indent="   ")
    assert not first.startswith(" ")
    assert others
    assert all(line.startswith("   ") for line in others)
