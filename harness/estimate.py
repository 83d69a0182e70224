"""How much a plan computes, and roughly how long that takes; reads no weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

from longbench_run.harness.sample_cache import request_tokens
from longbench_run.tasks.base import GenerateRequest, ScoreRequest

if TYPE_CHECKING:
    from longbench_run.harness.plan import FirstSamples, Group, Plan, PlannedCell

_EFFICIENCY = 0.5
"""Share of a plain matrix product's speed that a model reaches."""
_SECONDS_PER_LAYER = 1e-3
"""Time of one layer for one token alone, where launching work costs more than doing it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellEstimate:
    """What one cell computes."""

    cell: PlannedCell
    samples: int
    tokens: int
    """Tokens that go in; 0 where a longer length of the same groups computes them anyway."""
    new_tokens: int
    """Tokens generated at most."""


def group_tokens(group: Group, first: FirstSamples) -> int:
    """Return the tokens that a group computes, judged by the first sample of each length."""
    return sum(_member_tokens(group, first).values())


def _member_tokens(group: Group, first: FirstSamples) -> dict[tuple[str, int], int]:
    """Return the tokens by member; of windows that begin each other, the longest alone counts."""
    tokens: dict[tuple[str, int], int] = {}
    longest: dict[int, tuple[str, int]] = {}
    for cell, index in group.members:
        request = first[cell.sample_source].request
        key = (cell.cell_id, index)
        tokens[key] = request_tokens(request)
        if cell.method.prefix_causal and isinstance(request, ScoreRequest) and len(request.windows) == 1:
            # Members come shortest first.
            if index in longest:
                tokens[longest[index]] = 0
            longest[index] = key
    return tokens


def cell_estimates(plan: Plan, first: FirstSamples) -> list[CellEstimate]:
    """Return what every applicable cell computes."""
    tokens: dict[str, int] = {}
    for run in plan.method_runs():
        for group in run.groups():
            for (cell_id, _), count in _member_tokens(group, first).items():
                tokens[cell_id] = tokens.get(cell_id, 0) + count
    return [
        CellEstimate(
            cell=cell,
            samples=cell.count,
            tokens=tokens.get(cell.cell_id, 0),
            new_tokens=cell.count * _new_tokens(cell, first),
        )
        for cell in plan.cells
        if cell.not_applicable is None
    ]


def _new_tokens(cell: PlannedCell, first: FirstSamples) -> int:
    request = first[cell.sample_source].request
    return request.max_new_tokens if isinstance(request, GenerateRequest) else 0


def seconds(estimates: list[CellEstimate]) -> float:
    """Return roughly how long that takes here: an order of magnitude, from a matrix product timed now."""
    return sum(_cell_seconds(estimates))


def _cell_seconds(estimates: list[CellEstimate]) -> Iterator[float]:
    speed: dict[tuple[str, str], float] = {}
    for entry in estimates:
        inspected = entry.cell.weights.inspected
        key = (inspected.facts.device, inspected.facts.dtype)
        if key not in speed:
            speed[key] = _EFFICIENCY * _operations_per_second(*key)
        config = inspected.config.get_text_config()
        layers = int(config.num_hidden_layers)
        per_token = (
            2 * inspected.facts.parameters + 2 * layers * int(config.hidden_size) * entry.cell.context_length
        )
        yield entry.tokens * per_token / speed[key]
        yield entry.new_tokens * max(per_token / speed[key], layers * _SECONDS_PER_LAYER)


def _operations_per_second(device: str, dtype: str) -> float:
    """Time a matrix product."""
    import torch

    size = 512 if device == "cpu" else 4096
    factor = torch.ones(size, size, device=device, dtype=getattr(torch, dtype))
    best = float("inf")
    for _ in range(5):
        started = perf_counter()
        # Reading one element waits for the device.
        (factor @ factor)[0, 0].item()
        best = min(best, perf_counter() - started)
    return 2 * size**3 / best
