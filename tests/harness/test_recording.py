"""What a record keeps of a prompt: both ends, to read."""

from hypothesis import given
from hypothesis import strategies as st

from longbench_run.harness.recording import HEAD_TOKENS, TAIL_TOKENS, prompt_ends
from longbench_run.tasks.base import GenerateRequest, ScoreRequest, ScoreWindow

BOTH = HEAD_TOKENS + TAIL_TOKENS


class Numbers:
    """A tokenizer whose tokens are read as numbers."""

    def decode(self, token_ids, *, skip_special_tokens=False):
        return " ".join(map(str, token_ids))


def ends(request):
    head, tail = prompt_ends(request, Numbers())
    return [int(word) for word in head.split()], None if tail is None else [
        int(word) for word in tail.split()
    ]


@given(st.integers(1, 3 * BOTH))
def test_the_ends_are_those_of_the_prompt_and_never_lap(tokens):
    ids = tuple(range(tokens))
    head, tail = ends(GenerateRequest(prompt_ids=ids, max_new_tokens=1))
    assert tuple(head) == ids[: len(head)]
    if tail is None:
        assert len(head) == tokens <= BOTH
    else:
        assert tuple(tail) == ids[-len(tail) :]
        assert len(head) + len(tail) == BOTH < tokens


def test_of_several_windows_the_first_begins_and_the_last_ends():
    windows = tuple(
        ScoreWindow(token_ids=tuple(range(start, start + 500)), first_scored=1) for start in (0, 250)
    )
    head, tail = ends(ScoreRequest(windows=windows))
    assert (head[0], tail[-1]) == (0, 749)
