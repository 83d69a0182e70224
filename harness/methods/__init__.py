"""Extension methods as values: frequencies, logit scale, position map, mask."""

from longbench_run.harness.methods.base import Band, Component, Interval, LogitScale, RopeFacts
from longbench_run.harness.methods.method import Method, parse_method, parse_methods
from longbench_run.harness.methods.registry import component_class, component_classes

__all__ = [
    "Band",
    "Component",
    "Interval",
    "LogitScale",
    "Method",
    "RopeFacts",
    "component_class",
    "component_classes",
    "parse_method",
    "parse_methods",
]
