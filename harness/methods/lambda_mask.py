"""Methods that see the first keys and the last ones only: LM-Infinite and StreamingLLM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from longbench_run.harness.methods.base import Band, Interval, Tuning, known
from longbench_run.harness.methods.position_maps import constant, near
from longbench_run.harness.methods.windowed import Windowed


def sinks_beyond(window: int, sinks: int) -> Interval:
    """Return the first ``sinks`` keys where their distance is at least ``window``."""
    return Interval(start=np.zeros_like, stop=lambda p: np.minimum(p - window + 1, sinks))


@dataclass(frozen=True, kw_only=True)
class WindowAndSinks(Windowed):
    """The last ``window`` keys and the first ``sinks``, nothing between."""

    sinks: int
    """First keys that are always seen, at least 0."""

    def __post_init__(self) -> None:
        """Check the sinks."""
        super().__post_init__()
        self.require("sinks", self.sinks >= 0, "at least 0")


@dataclass(frozen=True, kw_only=True)
class LmInfinite(WindowAndSinks):
    """The last ``window`` keys at their distances, the first ``sinks`` at distance ``window``, nothing between.

    Source:
        Han et al. 2023, arXiv:2308.16137; Glaciohound/LM-Infinite@a0ce64c.
    """

    name: ClassVar[str] = "lm_infinite"
    version: ClassVar[int] = 2
    summary: ClassVar[str] = (
        "LM-Infinite: a window and the first tokens, whose distance is held at the window"
    )
    source: ClassVar[str] = "Han et al. 2023, arXiv:2308.16137; Glaciohound/LM-Infinite@a0ce64c"
    tuning: ClassVar[Tuning] = "none needed"
    differs: ClassVar[str] = (
        "The released code can bring back some middle tokens by their content, for passkey runs only; that is left "
        "out here."
    )

    sinks: int = 10
    """First keys, always seen, at least 0; default from Glaciohound/LM-Infinite@a0ce64c (perplexity runs: 100)."""

    @staticmethod
    def default_window(original_context_length: int) -> int:
        """Return L, as Glaciohound/LM-Infinite@a0ce64c sets it for Llama-2."""
        return original_context_length

    def bands(self) -> tuple[Band, ...]:
        """Axis 3: near keys as they are; sinks at 0, their queries at W. Axis 4: near keys and sinks."""
        window = known(self.window)
        return (
            Band(keys=near(window)),
            Band(keys=sinks_beyond(window, self.sinks), query_map=constant(window), key_map=np.zeros_like),
        )


@dataclass(frozen=True, kw_only=True)
class StreamingLlm(WindowAndSinks):
    """The last ``window`` keys and the first ``sinks``, at the distances they have inside a cache of that size.

    rho = p - j where p - j < window, else min(p, sinks + window - 1) - j.

    Source:
        Xiao et al. 2023, arXiv:2309.17453; mit-han-lab/streaming-llm@2e50426.
    """

    name: ClassVar[str] = "streaming_llm"
    version: ClassVar[int] = 2
    summary: ClassVar[str] = "StreamingLLM: a window and the first tokens, at their places inside the cache"
    source: ClassVar[str] = "Xiao et al. 2023, arXiv:2309.17453; mit-han-lab/streaming-llm@2e50426"
    tuning: ClassVar[Tuning] = "none needed"
    differs: ClassVar[str] = (
        "The released code drops from its cache the keys that are only hidden here: the distances are the same, its "
        "memory stays constant and here it grows."
    )

    sinks: int = 4
    """First keys, always seen, at least 0; default from mit-han-lab/streaming-llm@2e50426, its demo (evaluation: 1)."""

    @staticmethod
    def default_window(original_context_length: int) -> int:
        """Return L - 4, so that with 4 sinks the cache is L (this project's choice; released: 255 and 2000)."""
        return original_context_length - 4

    def bands(self) -> tuple[Band, ...]:
        """Axis 3: near keys as they are; sinks too, their queries at min(p, sinks + W - 1). Axis 4: near keys and sinks."""
        window = known(self.window)
        last = self.sinks + window - 1
        return (
            Band(keys=near(window)),
            Band(keys=sinks_beyond(window, self.sinks), query_map=lambda p: np.minimum(p, last)),
        )
