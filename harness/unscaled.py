"""Which method of a run is another one without its logit scale: told from what both do, never from their names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from longbench_run.harness.methods import Method
    from longbench_run.harness.methods.base import Band, RopeFacts
    from longbench_run.harness.plan import PlannedCell


def unscaled_methods(cells: Iterable[PlannedCell]) -> Mapping[str, Mapping[str, str]]:
    """Return for each model: method label -> label of the method that is the same without its logit scale.

    Both compute with the same weights, frequencies, position map and mask at every length that they are configured for.
    Methods that scale no logits, or have no such counterpart in the run, are absent; of several the first stands.

    Args:
        cells: The plan's.
    """
    found: dict[str, dict[str, dict[int, PlannedCell]]] = {}
    for cell in cells:
        if cell.not_applicable is None:
            of_model = found.setdefault(cell.weights.model_label, {})
            of_model.setdefault(cell.method_label, {})[cell.target_length] = cell
    return {model: _counterparts(methods) for model, methods in found.items()}


def _counterparts(methods: dict[str, dict[int, PlannedCell]]) -> dict[str, str]:
    return {
        scaled: plain
        for plain, without in reversed(methods.items())
        for scaled, with_scale in methods.items()
        if with_scale.keys() == without.keys()
        and all(_differ_in_scale_alone(cell, without[target]) for target, cell in with_scale.items())
    }


def _differ_in_scale_alone(scaled: PlannedCell, plain: PlannedCell) -> bool:
    if scaled.weights is not plain.weights or not scaled.method.logit_scales() or plain.method.logit_scales():
        return False
    if plain.method.as_released and _ships_scaling(plain.weights.inspected.config):
        return False
    lengths = (plain.weights.original_context_length, plain.target_length)
    return _same_frequencies(
        scaled.method, plain.method, plain.weights.inspected.facts.rope, lengths
    ) and _same_keys(scaled.method.bands(), plain.method.bands(), plain.target_length)


def _ships_scaling(config: Any) -> bool:
    """Return whether frequencies of the model as released are other than those that methods begin with."""
    shipped = dict(getattr(config.get_text_config(), "rope_parameters", None) or {})
    return shipped.get("rope_type", "default") != "default" or any(
        isinstance(value, dict) for value in shipped.values()
    )


def _same_frequencies(one: Method, other: Method, facts: RopeFacts, lengths: Iterable[int]) -> bool:
    """Return whether they have the same, at each length where they follow one."""
    if one.length_rule != other.length_rule:
        return False
    inv_freq = np.asarray(facts.inv_freq)
    both = ([method.at_length(length) for method in (one, other)] for length in lengths)
    return all(
        np.array_equal(mine.frequencies(inv_freq, facts.base), its.frequencies(inv_freq, facts.base))
        for mine, its in both
    )


def _same_keys(one: tuple[Band, ...] | None, other: tuple[Band, ...] | None, target: int) -> bool:
    """Return whether every query below the target sees the same keys at the same positions."""
    if one is None or other is None:
        return one is other
    positions = np.arange(target)
    return len(one) == len(other) and all(
        mine.prefill_only == its.prefill_only
        and all(
            np.array_equal(*pair)
            for pair in zip(_of_band(mine, positions), _of_band(its, positions), strict=True)
        )
        for mine, its in zip(one, other, strict=True)
    )


def _of_band(band: Band, positions: np.ndarray) -> list[np.ndarray]:
    """Return where a band's keys begin and end, and the positions that queries and keys take."""
    ends = [end(positions).clip(0, positions + 1) for end in (band.keys.start, band.keys.stop)]
    return [
        *ends,
        *(positions if turn is None else turn(positions) for turn in (band.query_map, band.key_map)),
    ]
