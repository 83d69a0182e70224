from dataclasses import dataclass
from typing import ClassVar

from longbench_run.harness.methods import Component


@dataclass(frozen=True, kw_only=True)
class Misnamed(Component):
    name: ClassVar[str] = "otherwise"
