"""Read a configuration file: YAML 1.2 scalars, safe tags only, no key twice."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import yaml

from longbench_run.harness.errors import ConfigError
from longbench_run.recipes import recipe_names

if TYPE_CHECKING:
    from pathlib import Path


class _CoreLoader(yaml.SafeLoader):
    """YAML 1.2's core schema; PyYAML follows 1.1: ``no`` is false there, ``1e6`` text."""

    # An own, empty table: what is added below must not change PyYAML's.
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build a mapping; a key that stands twice is an error, where PyYAML keeps the last."""
        seen: set[str] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be text", key_node.start_mark)
            if key_node.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f'key "{key_node.value}" stands twice', key_node.start_mark
                )
            seen.add(key_node.value)
        return super().construct_mapping(node, deep=deep)

    def construct_core_int(self, node: yaml.ScalarNode) -> int:
        """Read a whole number; a leading zero is decimal in 1.2 and octal in 1.1."""
        text = self.construct_scalar(node)
        sign, digits = (-1, text[1:]) if text.startswith("-") else (1, text.lstrip("+"))
        bases = {"0x": 16, "0o": 8}
        return sign * int(digits, bases.get(digits[:2], 10))


_CORE_SCHEMA = (
    ("tag:yaml.org,2002:null", r"(?:~|null|Null|NULL|)\Z", ["~", "n", "N", ""]),
    ("tag:yaml.org,2002:bool", r"(?:true|True|TRUE|false|False|FALSE)\Z", list("tTfF")),
    ("tag:yaml.org,2002:int", r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z", list("-+0123456789")),
    (
        "tag:yaml.org,2002:float",
        r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z",
        list("-+.0123456789"),
    ),
)
for _tag, _pattern, _first in _CORE_SCHEMA:
    _CoreLoader.add_implicit_resolver(_tag, re.compile(_pattern), _first)
_CoreLoader.add_constructor("tag:yaml.org,2002:int", _CoreLoader.construct_core_int)


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping that a file holds; an empty file is an empty mapping.

    Args:
        path: A YAML file.

    Raises:
        ConfigError: If the file cannot be read, is no YAML, is no mapping, or names a key twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        nearest = get_close_matches(path.as_posix(), recipe_names(), n=1, cutoff=0.8)
        remedy = f'Did you mean "{nearest[0]}"?' if nearest else "Check the path."
        raise ConfigError(
            f"--config: must be a readable YAML file, got {str(path)!r} ({reason}). {remedy}"
        ) from error
    try:
        # Safe: the loader derives from SafeLoader and adds scalars only.
        data = yaml.load(text, Loader=_CoreLoader)  # noqa: S506
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise ConfigError(
            f"{path} line {line}: must be YAML without doubled keys, got: {error.problem}. Mend the line."
        ) from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(
            f"{path}: must be YAML, got: {' '.join(str(error).split())}. Mend the file."
        ) from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(
            f"{path}: must be a mapping of keys to values, got a {type(data).__name__}. Write key: value."
        )
    return {str(key): value for key, value in data.items()}
