"""Text that others wrote, made fit for a file: UTF-8 has no form for half of a surrogate pair."""

from __future__ import annotations

from typing import Annotated

from pydantic_core import CoreSchema, core_schema


def _storable(text: str) -> str:
    """Join surrogate pairs and put U+FFFD for lone ones: UTF-8 has no form for them."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


class _Storable:
    """Validates foreign text; what is read from JSON is UTF-8 already, and a million texts take their time."""

    @staticmethod
    def __get_pydantic_core_schema__(_source: object, _handler: object) -> CoreSchema:
        text = core_schema.str_schema()
        return core_schema.json_or_python_schema(
            json_schema=text,
            python_schema=core_schema.no_info_after_validator_function(_storable, text),
        )


ForeignText = Annotated[str, _Storable]
"""Text that a model, a file name or a library wrote."""
