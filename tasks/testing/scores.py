"""Promises about scores: the right answer is the best, and whatever a model says has one."""

from __future__ import annotations

import json
import math

from longbench_run.tasks.base import (
    ChooseRequest,
    Chosen,
    Entropies,
    EntropyBucket,
    EntropyRequest,
    Generated,
    GenerateRequest,
    Metric,
    Output,
    Sample,
    Score,
    Scored,
    ScoreRequest,
)
from longbench_run.tasks.testing.promises import BrokenPromise, require
from longbench_run.tasks.testing.subject import Subject

_NO_ANSWERS = (
    " no such thing",
    "",
    " \n\t\r\n ",
    "\x00\ufffd\u202e\u0663\u0664\u0665 \U0001f511",
    "<script>alert(1)</script> {0} %s \\1 ]]> ${x}",
    "([{" * 700,
    "9" * 5000,
    "nan -inf 1e999 -0 0x1F 1_000",
    "word " * 3000,
)
"""What a model may say instead of an answer; numbers beyond 4300 digits are none to `int`."""
_NLLS = (11.0, 1e4)
_SAME = 1e-9


class ScorePromises(Subject):
    """Every output has scores, within what the metrics declare."""

    def right(self, sample: Sample) -> Output:
        """Return the best output there is. Override it where that is not the target, after a space."""
        if isinstance(sample.request, GenerateRequest):
            require(
                sample.target is not None,
                "A sample has a target.",
                "None. Override `right` where there is another right answer.",
            )
            return Generated(token_ids=(), text=f" {sample.target}")
        return _scored(sample, 0.0)

    def test_the_right_answer_scores_best(self) -> None:
        """It reaches the bound of every metric, as every one of several right answers does, and a wrong one less."""
        for sample in self.samples(self.tokenizers[0]):
            right, wrong = (
                self._score(sample, out).scores for out in (self.right(sample), _outputs(sample)[0])
            )
            for metric in self.task.info.metrics:
                name, bound = metric.name, _bound(metric)
                require(
                    bound is None or math.isclose(right[name], bound, abs_tol=_SAME),
                    f"The right answer has the best {name} there is, {bound}.",
                    f"{right[name]} for {self.right(sample)}.",
                )
                require(
                    _better(metric, right[name], wrong[name]) and right[name] != wrong[name],
                    f"The right answer has a better {name} than a wrong one.",
                    f"{right[name]} and {wrong[name]}.",
                )
                for answer in sample.answers:
                    other = self._score(sample, Generated(token_ids=(), text=f" {answer}")).scores[name]
                    require(
                        _better(metric, other, right[name]),
                        f"Every right answer has the best {name}.",
                        f"{other} for {answer!r}, {right[name]} for the first.",
                    )

    def test_whatever_a_model_says_is_scored(self) -> None:
        """Empty, endless and hostile outputs have every metric, within its bounds, and none beats the right answer."""
        for sample in self.samples(self.tokenizers[0], count=2):
            best = self._score(sample, self.right(sample)).scores
            for output in _outputs(sample):
                score = self._score(sample, output)
                for metric in self.task.info.metrics:
                    require(
                        _better(metric, best[metric.name], score.scores[metric.name]),
                        f"Nothing has a better {metric.name} than the right answer.",
                        f"{score.scores[metric.name]} for {_short(output)}, {best[metric.name]} for the right one.",
                    )

    def test_an_output_of_the_other_kind_is_refused(self) -> None:
        """`score` raises `TypeError` for what answers another request: it would be a number of nothing."""
        sample = self.samples(self.tokenizers[0], count=1)[0]
        other: Output = Generated(token_ids=(), text="")
        if isinstance(sample.request, GenerateRequest):
            other = Scored(nll=((0.0,),))
        try:
            self.task.score(sample, other)
        except TypeError:
            return
        require(False, "An output of the other kind is refused by a TypeError.", "nothing was raised.")

    def test_scored_tokens_add_up(self) -> None:
        """Where tokens are scored, the weight is their number, and buckets by position hold each of them once."""
        for sample in self.samples(self.tokenizers[0], count=2):
            if not isinstance(sample.request, ScoreRequest):
                continue
            tokens = sum(len(window.token_ids) - window.first_scored for window in sample.request.windows)
            score = self._score(sample, _scored(sample, 2.0))
            require(score.weight == tokens, "The weight is the number of scored tokens.", f"{score.weight}.")
            found = sum(bucket.tokens for bucket in score.nll_buckets)
            total = sum(bucket.nll_sum for bucket in score.nll_buckets)
            require(
                not score.nll_buckets or (found == tokens and math.isclose(total, 2.0 * tokens)),
                f"Buckets hold {tokens} tokens and {2.0 * tokens} nats.",
                f"{found} and {total}.",
            )

    def _score(self, sample: Sample, output: Output) -> Score:
        """Score an output and hold the scores to what the metrics declare."""
        try:
            score = self.task.score(sample, output)
        except Exception as error:  # whatever it is, a run would lose the sample by it
            reason = f"{type(error).__name__}: {error}"
            raise BrokenPromise(
                f"Every output has a score. Found: {reason[:200]} for {_short(output)}."
            ) from error
        metrics = {metric.name: metric for metric in self.task.info.metrics}
        require(
            set(score.scores) == set(metrics), "Scores are those of the metrics.", f"{sorted(score.scores)}."
        )
        for name, value in score.scores.items():
            low, high = metrics[name].minimum, metrics[name].maximum
            inside = (
                math.isfinite(value) and (low is None or value >= low) and (high is None or value <= high)
            )
            require(inside, f"{name} lies within [{low}, {high}].", f"{value} for {_short(output)}.")
            require(
                not metrics[name].is_binary or value in {0, 1},
                f"{name} is declared binary.",
                f"{value} for {_short(output)}.",
            )
        json.dumps(score.prediction)
        return score


def _outputs(sample: Sample) -> list[Output]:
    """Return outputs that are no right answer, a plainly wrong one first."""
    if isinstance(sample.request, GenerateRequest):
        return [Generated(token_ids=(), text=text) for text in _NO_ANSWERS]
    return [_scored(sample, nll) for nll in _NLLS]


def _entropies(request: EntropyRequest, share: float) -> Entropies:
    """Return entropies of two layers of two heads that grow with the logarithm of the position."""
    stops = (*request.edges[1:], len(request.token_ids))
    return Entropies(
        buckets=tuple(
            EntropyBucket(layer=layer, start=start, stop=stop, heads=(share * math.log(stop),) * 2)
            for layer in (0, 1)
            for start, stop in zip(request.edges, stops, strict=True)
        )
    )


def _scored(sample: Sample, nll: float) -> Scored | Chosen | Entropies:
    """Return the same nll for every scored token, or entropy to that measure; one of 0 is the most probable."""
    if isinstance(sample.request, GenerateRequest):
        raise TypeError("Only what is scored has an nll.")
    if isinstance(sample.request, EntropyRequest):
        return _entropies(sample.request, nll)
    windows = sample.request.windows
    values = tuple([nll] * (len(window.token_ids) - window.first_scored) for window in windows)
    if isinstance(sample.request, ChooseRequest):
        return Chosen(nll=values, greedy=(nll == 0.0,) * len(windows))
    return Scored(nll=values)


def _bound(metric: Metric) -> float | None:
    return metric.maximum if metric.higher_is_better else metric.minimum


def _better(metric: Metric, one: float, other: float) -> bool:
    """Return whether one score is at least as good as another."""
    return one >= other - _SAME if metric.higher_is_better else one <= other + _SAME


def _short(output: Output) -> str:
    text = repr(output.text) if isinstance(output, Generated) else "scored tokens"
    return text if len(text) <= 60 else f"{text[:57]}..."
