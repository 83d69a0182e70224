"""Logit scales as they are multiplied into queries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from longbench_run.harness.attention.layout import Layout
    from longbench_run.harness.methods import LogitScale


class Scales:
    """Axis 2: the product of the logit scales, by layer and by query."""

    def __init__(self, scales: Sequence[LogitScale]) -> None:
        """Keep the scales."""
        self._scales = scales

    @property
    def per_query(self) -> bool:
        """Whether some scale depends on the query's position."""
        return any(scale.values is not None for scale in self._scales)

    def constant(self, layer: int) -> float:
        """Return the product of the constant scales of a layer."""
        product = 1.0
        for scale in self._scales:
            if scale.constant is not None and layer >= scale.skip_layers:
                product *= scale.constant
        return product

    def scaled(self, query: Tensor, layer: int, layout: Layout) -> Tensor:
        """Return the queries times their per-query scales, computed in fp32 and cast once."""
        active = [s.values for s in self._scales if s.values is not None and layer >= s.skip_layers]
        if not active:
            return query
        product = np.ones((len(layout.rows), layout.query_length))
        for index, row in enumerate(layout.rows):
            tokens = row.query_last - row.first
            for values in active:
                product[index, layout.queries(row)] *= values(row.query_positions, tokens)
        factor = torch.as_tensor(product, dtype=torch.float32).to(query.device)
        return (query.float() * factor[:, None, :, None]).to(query.dtype)
