"""What the paper claims of its tables 4 and 5, each as a combination of means that has an interval."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from longbench_run.results.crossed import Contrast, holm
from longbench_run.results.method_differences import ALPHA
from longbench_run.results.tuned import (
    Place,
    TunedCell,
    TunedRun,
    change_of_difference,
    difference,
    loss,
)

ORDER = ("abf", "pi", "yarn", "ntk_by_parts")
"""Below entropy-aware ABF at the length tuned for; the last two alike."""
OURS = ("entropy_abf", "entropy_abf:skip_layers=0")
"""As the paper describes it, and as its code computes it."""
Sign = Literal["above 0", "below 0", "near 0"]
Found = Literal["shown", "contradicted", "not shown", "not tested", "not measured"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A combination of means, and on which side of 0 the paper says it is."""

    text: str
    """What is combined."""
    cells: Mapping[TunedCell, float]
    says: Sign


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A claim, and what was found."""

    claim: Claim
    contrast: Contrast | None
    p: float | None
    """After Holm's correction over all claims."""
    found: Found


def claims(run: TunedRun, *, target: int, longest: int) -> Iterator[Claim]:
    """Yield every claim that the methods, samples and lengths of a study are about.

    Args:
        run: The study's run.
        target: Context length that is tuned for.
        longest: Twice that.
    """
    counts = [count for count in run.samples if count]
    for count in counts:
        at = {"samples": count, "context_length": target}
        pairs: list[tuple[str, str, Sign]] = [(ours, ORDER[0], "above 0") for ours in OURS]
        pairs += [(better, worse, "above 0") for better, worse in pairwise(ORDER[:-1])]
        pairs.append((ORDER[-2], ORDER[-1], "near 0"))
        for better, worse, says in pairs:
            yield Claim(
                text=f"{better} - {worse}, {count} samples", cells=difference(better, worse, **at), says=says
            )
    for method in (*OURS, *ORDER):
        yield Claim(
            text=f"{method}: loss from {target} to {longest} tokens, {counts[-1]} samples",
            cells=loss(method, samples=counts[-1], context_lengths=(target, longest)),
            says="near 0" if method in OURS else "above 0",
        )
    if len(counts) > 1:
        for ours in OURS:
            yield Claim(
                text=f"({ours} - {ORDER[0]}) with {counts[0]} samples less that with {counts[-1]}",
                cells=change_of_difference(
                    ours, ORDER[0], samples=(counts[0], counts[-1]), context_length=target
                ),
                says="above 0",
            )


def judged(
    run: TunedRun, place: Place, stated: Sequence[Claim], *, higher_is_better: bool = True
) -> list[Judged]:
    """Return claims with what a run shows of them, together wrong of any at a chance of 5 %.

    Args:
        run: The study's run.
        place: A metric, or the mean over tasks.
        stated: The whole family.
        higher_is_better: Whether more of the metric is better; where not, what is found has its sign turned, so that
            positive numbers favour the same side.
    """
    sign = 1.0 if higher_is_better else -1.0
    contrasts = [
        run.contrast(place, {cell: sign * coefficient for cell, coefficient in claim.cells.items()})
        for claim in stated
    ]
    corrected = holm([None if each is None else each.p for each in contrasts])
    return [
        Judged(claim=claim, contrast=each, p=p, found=_found(claim, each, p))
        for claim, each, p in zip(stated, contrasts, corrected, strict=True)
    ]


def _found(claim: Claim, contrast: Contrast | None, p: float | None) -> Found:
    if contrast is None:
        return "not measured"
    if p is None:
        return "not tested"
    if p > ALPHA:
        # A difference near 0 that is not told from 0 agrees with the claim, and does not show it.
        return "not shown"
    side = "above 0" if contrast.value > 0 else "below 0"
    return "shown" if side == claim.says else "contradicted"
