"""How often 95 % intervals hold the truth, by simulation: of means, and of what is computed from several of them.

`python -m benchmarks.interval_coverage benchmarks/results/interval_coverage.md` writes the page; it takes some minutes of
one core. Everything is seeded.
"""

from __future__ import annotations

import math
import platform
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from longbench_run.results.records import MetricInfo, ModelSummary, RunHeader, TaskSummary
from longbench_run.results.robustness import LEAST_RETENTION, Robustness, robustness
from longbench_run.results.statistics import Interval, estimate
from longbench_run.results.studentised import Vector

CELLS = 2000
COUNTS = (10, 20, 50, 100, 200)
SHARES = tuple(round(0.05 * step, 2) for step in range(1, 20))
PACKAGES = ("numpy", "scipy", "pandas")


class Draw(NamedTuple):
    """Simulated samples of one cell."""

    values: Vector
    weights: Vector | None = None
    clusters: Sequence[int] | None = None


class Case(NamedTuple):
    """A distribution of samples and the mean of its population."""

    name: str
    truth: float
    draw: Callable[[np.random.Generator, int], Draw]
    maximum: float | None = None


def nll(generator: np.random.Generator, n: int, *, of: Callable[..., Vector]) -> Draw:
    """Return nll of n documents and their tokens, which say nothing of it."""
    return Draw(of(generator, n), generator.integers(1000, 4000, n).astype(np.float64))


def pieces(generator: np.random.Generator, n: int) -> Draw:
    """Return nll of n documents in four pieces each, alike within a document."""
    documents = np.repeat(generator.lognormal(0, 0.5, n), 4)
    values = documents * generator.lognormal(-0.02, 0.2, 4 * n)
    return Draw(
        values, generator.integers(200, 900, 4 * n).astype(np.float64), np.repeat(np.arange(n), 4).tolist()
    )


def zero_inflated(generator: np.random.Generator, n: int, *, zeros: float) -> Draw:
    """Return scores in [0, 1] that are 0 with chance ``zeros``, else uniform."""
    return Draw(np.where(generator.random(n) < zeros, 0.0, generator.random(n)))


def log_normal(generator: np.random.Generator, n: int, *, sigma: float) -> Vector:
    """Return nll whose logarithm is normal."""
    return generator.lognormal(0, sigma, n)


CASES = (
    Case("nll, normal", 2.0, partial(nll, of=lambda g, n: g.normal(2, 0.3, n))),
    Case("nll, log-normal, sigma 0.5", math.exp(0.125), partial(nll, of=partial(log_normal, sigma=0.5))),
    Case("nll, log-normal, sigma 1", math.exp(0.5), partial(nll, of=partial(log_normal, sigma=1.0))),
    Case("nll, log-normal, 4 pieces of a document", math.exp(0.125), pieces),
    Case("score in [0, 1], 60 % zeros", 0.2, partial(zero_inflated, zeros=0.6), 1.0),
    Case("score in [0, 1], 90 % zeros", 0.05, partial(zero_inflated, zeros=0.9), 1.0),
)


def wilson() -> Iterator[str]:
    """Yield a table of the coverage of Wilson's interval over shares of right answers."""
    yield "| n | mean | lowest | highest |"
    yield "|---|---|---|---|"
    for n in COUNTS:
        generator = np.random.default_rng(0)
        shares = []
        for p in SHARES:
            right = Counter(generator.binomial(n, p, CELLS).tolist())
            held = 0
            for successes, times in right.items():
                found = estimate([1.0] * successes + [0.0] * (n - successes), is_binary=True).interval
                held += times * (found is not None and found.low <= p <= found.high)
            shares.append(held / CELLS)
        lowest, highest = (SHARES[shares.index(bound(shares))] for bound in (min, max))
        yield (
            f"| {n} | {np.mean(shares):.3f} | {min(shares):.3f} at p = {lowest:g} | "
            f"{max(shares):.3f} at p = {highest:g} |"
        )


def means() -> Iterator[str]:
    """Yield a table of the coverage of the other intervals, and how wide they get."""
    yield f"| values | {' | '.join(f'n = {n}' for n in COUNTS)} | kinds | widest: n = 20, n = 100 |"
    yield f"|---|{'---|' * (len(COUNTS) + 2)}"
    for case in CASES:
        generator = np.random.default_rng(0)
        shares, widest, kinds = [], dict.fromkeys(COUNTS, 0.0), Counter[str]()
        for n in COUNTS:
            held = 0
            for _ in range(CELLS):
                values, weights, clusters = case.draw(generator, n)
                found = estimate(
                    values.tolist(),
                    weights=None if weights is None else weights.tolist(),
                    clusters=clusters,
                    minimum=0.0,
                    maximum=case.maximum,
                )
                kinds[str(found.kind)] += 1
                if found.interval is not None:
                    held += found.interval.low <= case.truth <= found.interval.high
                    widest[n] = max(widest[n], found.interval.high - found.interval.low)
            shares.append(rate(held, CELLS))
        listed = ", ".join(f"{kind} {count / kinds.total():.0%}" for kind, count in kinds.most_common())
        yield f"| {case.name} | {' | '.join(shares)} | {listed} | {widest[20]:.2g}, {widest[100]:.2g} |"


def rate(hits: int, trials: int) -> str:
    """Return a rate with its Clopper-Pearson interval."""
    bounds = binomtest(hits, trials).proportion_ci(0.95, method="exact")
    return f"{hits / trials:.3f} [{bounds.low:.3f}, {bounds.high:.3f}]"


LENGTHS = (512, 1024, 2048, 4096)


class Curve(NamedTuple):
    """Samples of one method over four lengths."""

    scores: Vector
    """Shape ``(4, n)``."""
    is_shared: bool
    """Whether column i is document i at every length."""


class CurveCase(NamedTuple):
    """A population of curves, and its means."""

    name: str
    means: tuple[float, ...]
    metric: MetricInfo
    draw: Callable[[np.random.Generator, int], Curve]


RIGHT = MetricInfo(name="accuracy", higher_is_better=True, minimum=0.0, maximum=1.0, is_binary=True)
SCORE = MetricInfo(name="score", higher_is_better=True, minimum=0.0, maximum=1.0)
NLL = MetricInfo(name="nll", higher_is_better=False, minimum=0.0)


def right_answers(generator: np.random.Generator, n: int, *, shares: Sequence[float]) -> Curve:
    """Return yes/no scores of samples that lengths do not share."""
    return Curve((generator.random((4, n)) < np.array(shares)[:, None]).astype(np.float64), is_shared=False)


def answered_questions(generator: np.random.Generator, n: int, *, shares: Sequence[float]) -> Curve:
    """Return yes/no scores of the same questions at every length, which are mostly right or wrong together."""
    own = np.where(generator.random((4, n)) < 0.7, generator.random(n), generator.random((4, n)))
    return Curve((own < np.array(shares)[:, None]).astype(np.float64), is_shared=True)


def document_nll(generator: np.random.Generator, n: int, *, rises: Sequence[float]) -> Curve:
    """Return nll of the same documents at every length, which differ more than the lengths do."""
    level = 1.5 + 0.5 * generator.lognormal(0, 0.5, n)
    noise = generator.normal(0, 0.06, (4, n))
    return Curve(level + np.array(rises)[:, None] + noise, is_shared=True)


def _curve_cases() -> Iterator[CurveCase]:
    for shares in ((0.9, 0.88, 0.7, 0.3), (1.0, 0.98, 0.8, 0.0), (0.6, 0.51, 0.51, 0.51)):
        yield CurveCase(f"yes/no, means {shares}", shares, RIGHT, partial(right_answers, shares=shares))
    for shares in ((0.9, 0.88, 0.7, 0.3), (0.6, 0.51, 0.51, 0.51)):
        yield CurveCase(
            f"the same, questions shared by lengths, means {shares}",
            shares,
            RIGHT,
            partial(answered_questions, shares=shares),
        )
    level = 1.5 + 0.5 * math.exp(0.125)
    for rises in ((0.0, 0.03, 0.08, 0.3), (0.0, 0.05, 0.05, 0.05)):
        yield CurveCase(
            f"nll, documents shared by lengths, rises {rises}",
            tuple(level + rise for rise in rises),
            NLL,
            partial(document_nll, rises=rises),
        )


def header_of(metric: MetricInfo) -> RunHeader:
    """Return the header of a run of one task and method."""
    task = TaskSummary(name="t", protocol="p", metrics=(metric,), source="", licence="")
    model = ModelSummary(
        label="m", original_context_length=LENGTHS[0], original_context_length_source="simulated"
    )
    return RunHeader(
        run_key="",
        command=(),
        config={},
        models=(model,),
        methods=("method",),
        tasks=(task,),
        lengths=LENGTHS,
        versions={},
        device="",
        started="",
    )


def frame_of(curve: Curve, metric: MetricInfo) -> pd.DataFrame:
    """Return the rows that `longbench_run.results.load` would return, of the columns that aggregates read."""
    n = curve.scores.shape[1]
    shared: dict[str, Any] = {
        "run": "r", "model_label": "m", "task": "t", "task_version": 1, "protocol": "p", "metric": metric.name,
        "method_label": "method", "setup_id": "s", "seed": 0, "weight": math.nan, "status": "ok",
        "is_binary": metric.is_binary, "minimum": metric.minimum,
        "maximum": math.nan if metric.maximum is None else metric.maximum,
    }  # fmt: skip
    documents = [f"d{index}" if curve.is_shared else None for index in range(n)]
    rows = pd.DataFrame(
        {
            "context_length": np.repeat(LENGTHS, n),
            "index": np.tile(np.arange(n), len(LENGTHS)),
            "document": documents * len(LENGTHS),
            "score": curve.scores.ravel(),
        }
    )
    return rows.assign(**shared)


def held_length(case: CurveCase, scores: Sequence[float]) -> int:
    """Return the effective length of means, by its definition."""
    start = scores[0]
    found = 0
    for length, value in zip(LENGTHS, scores, strict=True):
        margin = value - LEAST_RETENTION * start if case.metric.higher_is_better else start + 0.05 - value
        if margin < -1e-9:
            break
        found = length
    return found


def resampled_range(case: CurveCase, curve: Curve, generator: np.random.Generator) -> Interval:
    """Return the range of the effective length that resampling by document or sample gives: what is not used."""
    n = curve.scores.shape[1]
    found = []
    for _ in range(199):
        picks = (
            np.broadcast_to(generator.integers(0, n, n), (4, n))
            if curve.is_shared
            else generator.integers(0, n, (4, n))
        )
        found.append(held_length(case, np.take_along_axis(curve.scores, picks, axis=1).mean(axis=1).tolist()))
    low, high = np.quantile(found, [0.025, 0.975], method="nearest")
    return Interval(float(low), float(high))


def aggregates(cells: int) -> Iterator[str]:
    """Yield a table of the coverage of the intervals of aggregates."""
    yield "| curves over four lengths | n | retention or rise | area | effective length | the same, resampled |"
    yield "|---|---|---|---|---|---|"
    for case in _curve_cases():
        header = header_of(case.metric)
        truth = held_length(case, case.means)
        area = float(np.average(case.means, weights=[1, 2, 2, 1]))
        for n in (20, 100):
            generator, own = np.random.default_rng(0), np.random.default_rng(1)
            held: Counter[str] = Counter()
            for _ in range(cells):
                curve = case.draw(generator, n)
                (found,) = robustness(header, frame_of(curve, case.metric))
                held.update(_held(found, case, truth, area))
                low, high = resampled_range(case, curve, own)
                held["resampled"] += low <= truth <= high
            yield (
                f"| {case.name} | {n} | {rate(held['kept'], held['kept of'])} | {rate(held['area'], held['area of'])} "
                f"| {rate(held['effective'], held['effective of'])} | {rate(held['resampled'], cells)} |"
            )


def _held(found: Robustness, case: CurveCase, truth: int, area: float) -> Iterator[str]:
    for length, value in list(zip(LENGTHS, case.means, strict=True))[1:]:
        kept = value / case.means[0] if case.metric.higher_is_better else value - case.means[0]
        yield from _counted("kept", found.kept[length].interval, kept)
    yield from _counted("area", found.area.interval, area)
    if found.effective_length.interval is not None:
        low, high = (bound or 0 for bound in found.effective_length.interval)
        yield from _counted("effective", Interval(low, high), truth)


def _counted(name: str, interval: Interval | None, truth: float) -> Iterator[str]:
    if interval is not None:
        yield f"{name} of"
        if interval.low - 1e-9 <= truth <= interval.high + 1e-9:
            yield name


def page() -> Iterator[str]:
    """Yield the lines of the page."""
    started = time.monotonic()
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    yield "# How often intervals hold the truth"
    yield ""
    yield (
        f"Written by `python -m benchmarks.interval_coverage` with Python {platform.python_version()}, {versions}. Nominal: "
        f"95 %. {CELLS:,} cells each; in brackets: 95 % Clopper-Pearson intervals of the rate."
    )
    yield ""
    yield f"## Yes/no scores: Wilson, p from {SHARES[0]} to {SHARES[-1]}"
    yield ""
    yield from wilson()
    yield ""
    yield "## Other means"
    yield ""
    yield (
        "nll: the studentised bootstrap, no narrower at either end than Student's t; sums of nll and of tokens resampled "
        "together, by document. Scores in [0, 1]: BCa, and Wilson's where values hardly vary. Kinds: over all n."
    )
    yield ""
    yield from means()
    yield ""
    yield "## Aggregates over context length"
    yield ""
    yield (
        f"{CELLS // 4} curves each. Retention (scores) and rise (nll): all lengths beyond the window together. Effective "
        "length: its range holds the true one; beside it the range that the percentiles of 199 resamples give."
    )
    yield ""
    yield from aggregates(CELLS // 4)
    sys.stderr.write(f"{time.monotonic() - started:.0f} s\n")


def main(output: str) -> None:
    """Write the page.

    Args:
        output: Path of the page; its folder exists.
    """
    Path(output).write_text("\n".join(page()).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
