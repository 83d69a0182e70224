"""`python -m longbench_run.harness.reference_model train|evaluate`."""

from __future__ import annotations

import sys

from longbench_run.harness.reference_model import evaluate, train

COMMANDS = {"train": train.main, "evaluate": evaluate.main}


def main() -> int:
    """Run the command that is named first."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in COMMANDS:
        sys.stderr.write(
            f"reference_model: command must be {' or '.join(COMMANDS)}, got {name!r}. Name one.\n"
        )
        return 2
    return COMMANDS[name](sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
