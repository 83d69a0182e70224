"""The bundled model: what is shipped, and that it can do what the card says."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer

from longbench_run.harness import reference_model
from longbench_run.harness.chat import TaskTokenizer
from longbench_run.harness.methods import parse_method
from longbench_run.harness.models.generate import generate
from longbench_run.harness.reference_model import train
from longbench_run.harness.reference_model.card import RECORD
from longbench_run.harness.reference_model.evaluate import weights_sha256
from longbench_run.harness.reference_model.stages import BUNDLED
from longbench_run.harness.reference_model.tokenizer import train_tokenizer
from longbench_run.tasks.haystacks import spanning_order
from longbench_run.tasks.key_value import KeyValue
from longbench_run.tasks.passkey import FILLER, INSTRUCTION, NEEDLE, QUESTION, Passkey, passkey_prompt


def answers(loaded, task, *, context_length, count, seed=3):
    """Return the score of each sample."""
    found = []
    tokenizer = TaskTokenizer(tokenizer=loaded.tokenizer)
    for sample in task.samples(context_length=context_length, count=count, seed=seed, tokenizer=tokenizer):
        found.append(next(iter(task.score(sample, generate(loaded, sample.request)).scores.values())))
    return found


class TestShipped:
    def test_finding_it_costs_no_torch(self):
        code = (
            "import sys; from longbench_run.harness import reference_model as m; "
            "assert (m.path() / 'config.json').is_file(); print('torch' in sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

        assert done.stdout == "False\n"

    def test_weights_are_bf16_and_small(self):
        with safe_open(reference_model.path() / "model.safetensors", framework="pt") as weights:
            dtypes = {weights.get_tensor(name).dtype for name in weights.keys()}  # noqa: SIM118 - no mapping

        assert dtypes == {torch.bfloat16}
        assert sum(file.stat().st_size for file in reference_model.path().iterdir()) < 20e6

    def test_every_file_may_be_read_by_anyone(self):
        assert {oct(file.stat().st_mode & 0o044) for file in reference_model.path().iterdir()} == {"0o44"}

    def test_it_loads_alone_by_path_like_any_model_in_less_than_a_second(self):
        AutoTokenizer.from_pretrained(reference_model.path())  # what transformers imports on the first call
        AutoModelForCausalLM.from_pretrained(reference_model.path())
        times = []
        for _ in range(3):
            started = time.perf_counter()
            model = AutoModelForCausalLM.from_pretrained(reference_model.path())
            tokenizer = AutoTokenizer.from_pretrained(reference_model.path())
            times.append(time.perf_counter() - started)

        assert min(times) < 1
        assert model.config.model_type == "llama"
        assert model.config.head_dim == 64
        assert model.config.max_position_embeddings >= 1024
        assert model.config.rope_parameters["rope_theta"] == 10_000
        assert model.config.vocab_size == len(tokenizer) == train.VOCABULARY
        assert (model.config.bos_token_id, model.config.eos_token_id, model.config.pad_token_id) == (
            tokenizer.bos_token_id,
            tokenizer.eos_token_id,
            tokenizer.pad_token_id,
        )

    def test_it_is_what_the_script_trains(self):
        shipped = json.loads((reference_model.path() / "config.json").read_text())
        trained = train.model_config(BUNDLED.window).to_dict()
        record = json.loads((reference_model.path() / RECORD).read_text())
        written = {"architectures", "dtype", "transformers_version", "_name_or_path"}

        assert {key: shipped[key] for key in shipped if key not in written} == {
            key: trained[key] for key in shipped if key not in written
        }
        assert [(stage["stage"], stage["steps"]) for stage in record["stages"]] == [
            (stage.name, stage.steps) for stage in BUNDLED.stages
        ]

    def test_the_card_is_about_these_weights(self, root):
        card = (root / "harness/reference_model/MODEL_CARD.md").read_text()

        assert f"sha256 `{weights_sha256(reference_model.path())}`" in card


class TestAbility:
    """A few samples: the figures are in the model card."""

    def test_it_finds_the_key_at_every_depth_of_its_window(self, loaded):
        window = loaded.facts.original_context_length

        assert sum(answers(loaded, Passkey(), context_length=window, count=10)) == 10

    def test_it_sees_no_farther_than_its_window_and_a_method_of_each_family_lets_it(self, loaded):
        twice = 2 * loaded.facts.original_context_length
        found = {}
        for method in ("none", "yarn", "self_extend"):
            with parse_method(method).applied_to(loaded.model, context_length=twice):
                found[method] = answers(loaded, Passkey(), context_length=twice, count=10)
        depths = [step / 9 for step in spanning_order(10)]
        far = [place for place, depth in enumerate(depths) if depth < 0.3]

        assert sum(found["none"][place] for place in far) == 0
        assert sum(found["none"]) <= 8
        for method in ("yarn", "self_extend"):
            assert sum(found[method][place] for place in far) >= 2
            assert sum(found[method]) >= 8

    def test_it_finds_values_by_their_keys(self, loaded):
        context_length = loaded.facts.original_context_length // 2

        assert sum(answers(loaded, KeyValue(), context_length=context_length, count=20)) >= 10

    @pytest.mark.parametrize("key", [10_000, 27_182, 31_415, 99_999])
    def test_it_reads_the_key_and_not_the_phrase(self, loaded, key):
        assert said(loaded, passkey_prompt(key=key, sentences=40, boundary=17)) == f" {key}."

    def test_a_shuffled_haystack_does_not_change_what_it_says(self, loaded):
        draw = random.Random(5)
        sentences = [sentence for _ in range(12) for sentence in FILLER]
        for key in (48_213, 60_606, 73_915):
            draw.shuffle(sentences)
            parts = (
                INSTRUCTION,
                " ".join(sentences[:31]),
                NEEDLE.format(key=key),
                " ".join(sentences[31:]),
                QUESTION,
            )
            assert said(loaded, "\n".join(parts)) == f" {key}."


def said(loaded, prompt):
    """Return the greedy continuation of a text."""
    ids = loaded.tokenizer.encode(prompt, return_tensors="pt")
    answer = loaded.model.generate(ids, max_new_tokens=8, do_sample=False)[0, ids.shape[1] :]
    return loaded.tokenizer.decode(answer, skip_special_tokens=True)


class TestTokenizer:
    @given(text=st.text(st.characters(exclude_categories=["Cs"])))
    def test_any_text_goes_through_unchanged(self, tokenizer, text):
        ids = tokenizer.encode(text, add_special_tokens=False)

        assert tokenizer.decode(ids) == text or any(
            special in text for special in tokenizer.all_special_tokens
        )

    def test_the_beginning_of_a_sequence_is_marked_unless_told_otherwise(self, tokenizer):
        assert tokenizer.encode("a b") == [
            tokenizer.bos_token_id,
            *tokenizer.encode("a b", add_special_tokens=False),
        ]

    @given(key=st.integers(10_000, 99_999))
    def test_digits_are_tokens_of_their_own_wherever_they_stand(self, tokenizer, key):
        for text in (f"is {key}.", f"({key})", f"No{key}th"):
            tokens = tokenizer.convert_ids_to_tokens(tokenizer.encode(text, add_special_tokens=False))

            assert [token for token in tokens if any(c.isdigit() for c in token)] == list(str(key))

    def test_training_it_twice_gives_the_same_tokens(self):
        texts = ["The pass key is 12345.", "once upon a time there was a key", "a key, a time, a pass"] * 5
        one, other = (train_tokenizer(texts, vocab_size=280) for _ in range(2))

        assert one.get_vocab() == other.get_vocab()
        assert len(one) == 280

    def test_the_task_fits_the_window_of_the_model(self, tokenizer):
        assert Passkey().minimum_length(tokenizer) < 512
