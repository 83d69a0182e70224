"""What registered attention functions take from a forward pass, and what they never take from an earlier one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers.models.llama import modeling_llama

from longbench_run.harness.attention.functions import Scales
from longbench_run.harness.attention.layout import Layout, Row
from longbench_run.harness.errors import MethodNotApplicable
from longbench_run.harness.methods import parse_method


def test_a_per_query_scale_is_multiplied_in_fp32_and_rounded_once():
    """In bf16 the scale itself would stay 1 up to position 4231, as it does in the released entropy-aware ABF."""
    positions = np.arange(4000, 4300)
    row = Row(first=0, last=4300, query_first=4000, query_last=4300)
    layout = Layout(rows=(row,), query_offset=4000, query_length=300, slots=4300)
    scales = Scales(parse_method("log_n:original_context_length=4096").logit_scales())
    query = torch.randn((1, 2, 300, 16), generator=torch.Generator().manual_seed(0)).bfloat16()

    found = scales.scaled(query, 0, layout)

    tau = np.maximum(1.0, np.log(positions + 1) / np.log(4096))
    expected = (query.double() * torch.from_numpy(tau)[:, None]).bfloat16()
    assert found.dtype == torch.bfloat16
    assert (found != query)[:, :, 150:230].any()
    # fp32 and float64 products may round to neighbouring bf16 numbers in rare ties.
    assert (found != expected).float().mean() < 1e-3


@pytest.mark.parametrize("text", ["rerope:window=8", "log_n"])
def test_a_pass_without_a_mask_of_its_own_takes_none_from_the_pass_before(
    tiny_llama, token_ids, text, monkeypatch
):
    ids = torch.tensor([token_ids(100)])
    with parse_method(text).applied_to(tiny_llama), torch.no_grad():
        tiny_llama(ids)
        monkeypatch.setattr(modeling_llama, "create_causal_mask", lambda *_, **__: None)

        with pytest.raises(MethodNotApplicable) as caught:
            tiny_llama(ids)

    assert str(caught.value) in (
        "position maps and per-query scales need to know where a forward pass stands, got one that made no mask "
        "for its queries. Call the model with input_ids and a 2-D attention_mask, or none.",
        "position maps cannot serve LlamaAttention: it changes the attention mask on its way to the layers. "
        "Use a method that changes frequencies or the logit scale only.",
    )
