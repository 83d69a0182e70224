"""Carrying a method into a Hugging Face model, without touching model code."""

from longbench_run.harness.attention.apply import Applied, apply
from longbench_run.harness.attention.rotary import original_window, rope_facts

__all__ = ["Applied", "apply", "original_window", "rope_facts"]
