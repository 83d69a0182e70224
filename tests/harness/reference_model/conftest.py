"""What the tests of the reference model share: its tokenizer, itself, and rows without books."""

from __future__ import annotations

import numpy as np
import pytest

from longbench_run.harness import reference_model
from longbench_run.harness.models.load import load_model
from longbench_run.harness.models.spec import ModelSpec
from longbench_run.harness.reference_model.data import Rows
from longbench_run.harness.reference_model.row import Source
from longbench_run.harness.reference_model.tokenizer import load_tokenizer


@pytest.fixture(scope="session")
def tokenizer():
    return load_tokenizer(reference_model.path())


@pytest.fixture(scope="session")
def loaded():
    return load_model(ModelSpec(dtype="float32", device="cpu"))


@pytest.fixture(scope="session")
def rows(tokenizer):
    return Rows(Source(tokenizer, np.arange(3, 2003, dtype=np.uint16).repeat(3)), seed=0)
