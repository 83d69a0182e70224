"""How a broken promise is told, of methods and of tasks: what was promised, and what was found."""

from __future__ import annotations

from collections.abc import Iterable


class BrokenPromise(AssertionError):
    """A method or a task does not do what it declares, or what all must; the message says which promise, and where."""


def require(kept: bool, promise: str, found: str) -> None:  # the condition, as in `assert`
    """Raise unless a promise is kept.

    Raises:
        BrokenPromise: If it is not.
    """
    if not kept:
        raise BrokenPromise(f"{promise} Found: {found}")


def checks_of(contract: type) -> tuple[str, ...]:
    """Return the names of all checks of a contract, its methods that begin with ``test_``."""
    return tuple(sorted(name for name in dir(contract) if name.startswith("test_")))


def broken_promises(contract: object, checks: Iterable[str] | None = None) -> dict[str, BrokenPromise]:
    """Run a contract without pytest and return what is broken, by the name of the check.

    Args:
        contract: An instance of a class that names a method or a task.
        checks: Names of the checks to run; default: all.

    Raises:
        MethodNotApplicable: If a method cannot serve the model.
    """
    broken: dict[str, BrokenPromise] = {}
    for name in checks_of(type(contract)) if checks is None else checks:
        try:
            getattr(contract, name)()
        except BrokenPromise as error:
            broken[name] = error
    return broken
