"""How far a run is: on stderr, for people; nothing where nobody looks."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NoReturn, Protocol, TextIO

if TYPE_CHECKING:
    from tqdm import tqdm


class Progress(Protocol):
    """What the runner tells while it works."""

    def start(self, tokens: int) -> None:
        """Begin: so many tokens are to be computed."""
        ...

    def stage(self, text: str, samples: int) -> None:
        """Begin a part: so many samples of it are to be computed."""
        ...

    def advance(self, *, tokens: int = 0, samples: int = 0) -> None:
        """Add what was computed."""
        ...

    def finish(self) -> None:
        """End."""
        ...


class Silent:
    """Says nothing."""

    def start(self, tokens: int) -> None:
        """Do nothing."""

    def stage(self, text: str, samples: int) -> None:
        """Do nothing."""

    def advance(self, *, tokens: int = 0, samples: int = 0) -> None:
        """Do nothing."""

    def finish(self) -> None:
        """Do nothing."""


class Bars:
    """Two lines: the whole run in tokens, with the time that remains, and the part at work in samples."""

    def __init__(self, stream: TextIO | None = None) -> None:
        """Draw on ``stream``, default stderr; quiet where it is no terminal."""
        self._stream = stream if stream is not None else sys.stderr
        self._run: tqdm[NoReturn] | None = None
        self._stage: tqdm[NoReturn] | None = None

    def start(self, tokens: int) -> None:
        """Draw the line of the whole run."""
        self._run = self._bar("run", tokens, "tok", position=0)

    def stage(self, text: str, samples: int) -> None:
        """Draw the line of the part at work."""
        if self._stage is not None:
            self._stage.close()
        self._stage = self._bar(text, samples, "sample", position=1)

    def advance(self, *, tokens: int = 0, samples: int = 0) -> None:
        """Move both lines."""
        if self._run is not None:
            self._run.update(tokens)
        if self._stage is not None:
            self._stage.update(samples)

    def finish(self) -> None:
        """Take the lines away."""
        for bar in (self._stage, self._run):
            if bar is not None:
                bar.close()
        self._run = self._stage = None

    def _bar(self, text: str, total: int, unit: str, *, position: int) -> tqdm[NoReturn]:
        from tqdm import tqdm

        # None: tqdm draws on a terminal only, so that pipes and CI logs stay clean.
        return tqdm(
            desc=text,
            total=total,
            unit=unit,
            unit_scale=unit == "tok",
            position=position,
            leave=False,
            file=self._stream,
            disable=None,
            dynamic_ncols=True,
        )
