"""How generated Python files are worded."""

from __future__ import annotations

import keyword

KEYWORDS = (*keyword.kwlist, *keyword.softkwlist)
"""Words that no invented identifier may be."""

FUNCTION = '''def {function}({parameters}):
    """Work out the {result} of all that is given."""
    {result} = {terms}
    return {result}'''
FUNCTION_CALLER = '''def call_{function}(values):
    """Call {function} with all that it takes."""'''
FUNCTION_CALL = "    return {function}({arguments})"

CLASS = '''class {owner}:
    """Keeps the books of the {owner} office."""

    def {function}(self, {parameters}):
        """Work out the {result} of all that is given."""
        {result} = {terms}
        return {result}'''
CLASS_CALLER = '''def call_{function}(office: {owner}, values):
    """Call {function} with all that it takes."""'''
CLASS_CALL = "    return office.{function}({arguments})"
PATH = "{package}/{module}.py"
IMPORT = "from {package}.{module} import {owner}"
MAIN_PATH = "{package}/main.py"
ARGUMENT = "values.{parameter}"
