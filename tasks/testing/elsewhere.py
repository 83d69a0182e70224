"""The samples of a task as another process makes them, which hashes texts otherwise."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from operator import attrgetter
from typing import Any

from longbench_run.tasks.base import Sample, Task
from longbench_run.tasks.testing.promises import require
from longbench_run.tasks.testing.tokenizers import Bytes

_UNWANTED = ("torch", "transformers", "longbench_run.harness")
_SECONDS = 120
_HASH_SEED = "PYTHONHASHSEED"


def digest(samples: Iterable[Sample]) -> str:
    """Return a hash of samples."""
    return hashlib.sha256("\n".join(map(repr, samples)).encode()).hexdigest()


def made_elsewhere(task: Task, *, context_length: int, count: int) -> tuple[str, list[str]]:
    """Return the `digest` of a task's samples made by another process, and what it imported that no task may.

    Args:
        task: A dataclass whose class is found by its name in a module.
        context_length: Tokens, of `Bytes`.
        count: Samples.

    Raises:
        BrokenPromise: If the process cannot make them.
    """
    kind: type[Any] = type(task)
    asked = {
        "module": kind.__module__,
        "file": getattr(sys.modules[kind.__module__], "__file__", None),
        "class": kind.__qualname__,
        "parameters": {
            field.name: getattr(task, field.name) for field in dataclasses.fields(kind) if field.init
        },
        "context_length": context_length,
        "count": count,
    }
    seed = "2" if os.environ.get(_HASH_SEED) == "1" else "1"
    done = subprocess.run(
        [sys.executable, "-m", __name__, json.dumps(asked)],
        capture_output=True,
        text=True,
        check=False,
        timeout=_SECONDS,
        env={**os.environ, _HASH_SEED: seed, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    last = (done.stderr.strip() or "nothing on its standard error").splitlines()[-1]
    require(done.returncode == 0, "Another process can make the samples too.", f"{last}.")
    found, unwanted = json.loads(done.stdout.splitlines()[-1])
    return found, unwanted


def _module(name: str, file: str) -> Any:
    """Import a module by its name, or by its file where it is in no package."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        spec = importlib.util.spec_from_file_location(name, file)
        if spec is None or spec.loader is None:
            raise
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return module


def _main(asked: dict[str, Any]) -> None:
    task = attrgetter(asked["class"])(_module(asked["module"], asked["file"]))(**asked["parameters"])
    samples = task.samples(
        context_length=asked["context_length"], count=asked["count"], seed=0, tokenizer=Bytes()
    )
    found = digest(samples)
    unwanted = [name for name in _UNWANTED if name in sys.modules]
    sys.stdout.write(f"\n{json.dumps([found, unwanted])}\n")


if __name__ == "__main__":
    _main(json.loads(sys.argv[1]))
