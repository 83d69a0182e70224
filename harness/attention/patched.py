"""Setting and restoring, in one place."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_MISSING = object()


@contextmanager
def patched(target: object, name: str, value: object) -> Iterator[None]:
    """Set an attribute inside the block; afterwards it is what it was, or gone if it was not there."""
    before = getattr(target, name, _MISSING)
    setattr(target, name, value)
    try:
        yield
    finally:
        if before is _MISSING:
            delattr(target, name)
        else:
            setattr(target, name, before)
