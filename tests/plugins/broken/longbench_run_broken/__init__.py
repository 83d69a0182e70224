"""What a plugin must not be."""

from dataclasses import dataclass


class NoComponent:
    name = "no_component"


@dataclass(frozen=True)
class NoTask:
    protocol: str = "one"

    def score(self):
        return 1.0
