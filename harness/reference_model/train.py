"""Train the reference model: `python -m longbench_run.harness.reference_model.train --output runs/reference_model`.

Steps predict ever other numbers of tokens, and glibc keeps freed blocks of every size: 7 GB after an hour. With
``MALLOC_MMAP_THRESHOLD_=1000000`` in the environment it stays below 1 GB.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import random
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
import transformers
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM

from longbench_run.harness.models.load import load_model
from longbench_run.harness.models.spec import ModelSpec
from longbench_run.harness.reference_model.card import RECORD
from longbench_run.harness.reference_model.data import DOCUMENT_SEED, Kind, Row, Rows, read_book, read_books
from longbench_run.harness.reference_model.evaluate import DEPTHS, passkey
from longbench_run.harness.reference_model.stages import STAGES, Stage
from longbench_run.harness.reference_model.tokenizer import load_tokenizer, train_tokenizer
from longbench_run.tasks.documents import generate_document
from longbench_run.tasks.passkey import Passkey, passkey_prompt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transformers import PreTrainedTokenizerFast

    from longbench_run.tasks.base import Tokenizer

VOCABULARY = 2048
WARMUP = 200
"""Steps from learning rate 0 at the very beginning."""
BETAS = (0.9, 0.95)
WEIGHT_DECAY = 0.05
CLIP = 1.0


def model_config(window: int) -> LlamaConfig:
    """Return the architecture with a native window of ``window`` tokens."""
    return LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=128,
        intermediate_size=512,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=64,
        tie_word_embeddings=True,
        max_position_embeddings=window,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
    )


@dataclass
class Progress:
    """Where a training is; with the weights, all that a resumed one needs."""

    stage: int = 0
    step: int = 0
    """Steps done in this stage."""
    seconds: float = 0.0
    tokens: int = 0
    copying: float = 0.0
    """Running accuracy of copied tokens."""
    answers: float = 0.0
    """Running accuracy of passkey tokens."""
    loss: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)
    """One entry per finished stage."""


class Training:
    """A training that can be killed at any time and goes on from its last checkpoint.

    Args:
        output: Folder of checkpoints and of the model after each stage.
        text: Folder of ``.txt`` files to read, or None.
        seed: Seed of weights and data.
        minutes_between_checkpoints: Wall-clock time that a kill can cost.
    """

    def __init__(
        self, *, output: Path, text: Path | None, seed: int, minutes_between_checkpoints: float = 2.0
    ) -> None:
        self.output, self.text, self.seed = output, text, seed
        self.seconds_between_checkpoints = 60 * minutes_between_checkpoints
        output.mkdir(parents=True, exist_ok=True)
        self.tokenizer = self._tokenizer(text)
        self.rows = Rows(tokenizer=self.tokenizer, books=read_books(text, self.tokenizer), seed=seed)
        torch.manual_seed(seed)
        self.model = LlamaForCausalLM(model_config(STAGES[0].length))
        self.optimizer = self._optimizer()
        self.progress = Progress()
        self._last_save = time.monotonic()
        if self._checkpoint.exists():
            self._load()

    def run(self) -> None:
        """Train through every stage that is left."""
        while self.progress.stage < len(STAGES):
            stage = STAGES[self.progress.stage]
            self._run_stage(stage)
            self._finish_stage(stage)
        self._record()

    def _run_stage(self, stage: Stage) -> None:
        progress = self.progress
        started, tokens_before = time.monotonic(), progress.tokens
        is_first_since_start = True
        while progress.step < stage.steps and not self._is_copying(stage):
            step_started = time.monotonic()
            row = self.rows.batch(
                stage=stage.name,
                step=progress.step,
                count=stage.batch,
                length=stage.length,
                mixture=stage.mixture,
            )
            self._step(stage, row)
            progress.step += 1
            progress.tokens += stage.batch * stage.length
            progress.seconds += time.monotonic() - step_started
            if progress.step % 20 == 0 or is_first_since_start:
                is_first_since_start = False
                speed = (progress.tokens - tokens_before) / (time.monotonic() - started)
                self._report(stage, speed)
            if time.monotonic() - self._last_save > self.seconds_between_checkpoints:
                self._save()

    def _is_copying(self, stage: Stage) -> bool:
        return stage.until_copying is not None and self.progress.copying > stage.until_copying

    def _step(self, stage: Stage, row: Row) -> None:
        progress = self.progress
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate(stage)
        ids, kinds = torch.from_numpy(row.ids), torch.from_numpy(row.kinds)[:, 1:]
        is_target = kinds != Kind.IGNORED
        targets, kinds = ids[:, 1:][is_target], kinds[is_target]
        self.model.train()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            hidden = self.model.model(input_ids=ids, use_cache=False).last_hidden_state
            logits = self.model.lm_head(
                hidden[:, :-1][is_target]
            )  # only rows that are predicted: (targets, vocabulary)
        weights = torch.where(kinds >= Kind.COPIED, stage.answer_weight, 1.0)
        nll = functional.cross_entropy(logits.float(), targets, reduction="none")
        loss = (nll * weights).sum() / weights.sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        self.optimizer.step()
        self.optimizer.zero_grad()
        right = (logits.argmax(-1) == targets).float()
        progress.loss += 0.05 * (loss.item() - progress.loss)
        for kind, name in ((Kind.COPIED, "copying"), (Kind.ANSWER, "answers")):
            if (kinds == kind).any():
                value = getattr(progress, name)
                setattr(progress, name, value + 0.05 * (right[kinds == kind].mean().item() - value))

    def _learning_rate(self, stage: Stage) -> float:
        first, last = stage.learning_rate
        rate = first + (last - first) * self.progress.step / stage.steps
        warmup = min(1.0, (self.progress.step + 1) / WARMUP) if self.progress.stage == 0 else 1.0
        return rate * warmup

    def _report(self, stage: Stage, speed: float) -> None:
        progress = self.progress
        left = stage.length * stage.batch * (stage.steps - progress.step)
        left += sum(s.length * s.batch * s.steps for s in STAGES[progress.stage + 1 :])
        print(
            f"{stage.name} {progress.step}/{stage.steps}  loss {progress.loss:.3f}  copying {progress.copying:.3f}  "
            f"passkey tokens {progress.answers:.3f}  {progress.tokens / 1e6:.2f} M tokens  {speed:,.0f} tokens/s  "
            f"at most {left / speed / 60:.0f} min left",
            flush=True,
        )

    def _finish_stage(self, stage: Stage) -> None:
        """Write the model as it would be shipped, measure it as it is shipped, and go on."""
        progress = self.progress
        folder = self.output / stage.name
        export(self.model, self.tokenizer, window=stage.length, folder=folder)
        accuracy = None
        if stage.length >= Passkey().minimum_length(cast("Tokenizer", self.tokenizer)):
            loaded = load_model(ModelSpec(model=str(folder), dtype="float32"))
            scores, _ = passkey(loaded, context_length=stage.length, count=4 * DEPTHS, seed=0)
            accuracy = sum(scores) / len(scores)
        progress.history.append(
            {
                "stage": stage.name,
                "steps": progress.step,
                "tokens": progress.tokens,
                "seconds": progress.seconds,
            }
            | {"copying": progress.copying, "loss": progress.loss, "passkey": accuracy}
        )
        asked = (
            f"passkey {accuracy:.3f} at {stage.length}"
            if accuracy is not None
            else "too short for the passkey"
        )
        print(f"{stage.name} done: {asked}, {progress.seconds / 60:.1f} min", flush=True)
        progress.stage, progress.step = progress.stage + 1, 0
        self._save()

    def _record(self) -> None:
        """Write beside the last weights how they came about."""
        record = {
            "seed": self.seed,
            "parameters": self.model.num_parameters(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "stages": self.progress.history,
            "books": [
                {"name": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
                for path in (sorted(self.text.glob("*.txt")) if self.text else ())
            ],
        }
        file = self.output / STAGES[-1].name / RECORD
        file.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")

    @property
    def _checkpoint(self) -> Path:
        return self.output / "checkpoint.pt"

    def _save(self) -> None:
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "progress": vars(self.progress),
        }
        unfinished = self._checkpoint.with_suffix(".unfinished")
        torch.save(state, unfinished)
        unfinished.replace(self._checkpoint)
        self._last_save = time.monotonic()

    def _load(self) -> None:
        state = torch.load(self._checkpoint, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.progress = Progress(**state["progress"])

    def _optimizer(self) -> torch.optim.AdamW:
        matrices = [p for p in self.model.parameters() if p.dim() > 1]
        scales = [p for p in self.model.parameters() if p.dim() == 1]
        groups = [{"params": matrices, "weight_decay": WEIGHT_DECAY}, {"params": scales, "weight_decay": 0.0}]
        return torch.optim.AdamW(groups, lr=0.0, betas=BETAS)

    def _tokenizer(self, text: Path | None) -> PreTrainedTokenizerFast:
        folder = self.output / "tokenizer"
        if not folder.exists():
            unfinished = self.output / "tokenizer.unfinished"
            train_tokenizer(tokenizer_texts(text), vocab_size=VOCABULARY).save_pretrained(str(unfinished))
            unfinished.replace(folder)
        return load_tokenizer(folder)


def tokenizer_texts(text: Path | None) -> Iterator[str]:
    """Yield what the tokenizer is trained on: generated documents, passkey prompts, books."""
    draw = random.Random("reference model: tokenizer")
    for index in range(100):
        yield generate_document(DOCUMENT_SEED, index, characters=30_000)
    for _ in range(100):
        yield passkey_prompt(key=draw.randint(10_000, 99_999), sentences=40, boundary=draw.randint(0, 40))
    for path in sorted(text.glob("*.txt")) if text else ():
        yield read_book(path)


def export(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, *, window: int, folder: Path) -> None:
    """Write a model in bf16 as a Hugging Face folder."""
    shipped = LlamaForCausalLM(model_config(window))
    shipped.load_state_dict(model.state_dict())
    shipped.bfloat16().save_pretrained(folder)
    tokenizer.save_pretrained(str(folder))
    for file in folder.iterdir():
        file.chmod(0o644)  # safetensors writes files that only their owner can read


def main(arguments: list[str] | None = None) -> int:
    """Train, or go on training."""
    parser = argparse.ArgumentParser(prog="train", description=__doc__)
    parser.add_argument(
        "--output", type=Path, required=True, help="folder of checkpoints; a killed training goes on"
    )
    parser.add_argument("--text", type=Path, help="folder of .txt files to train on besides generated text")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and data (default 0)")
    parser.add_argument(
        "--threads", type=int, default=math.ceil((os.cpu_count() or 1) / 2), help="CPU threads"
    )
    options = parser.parse_args(arguments)
    if options.text is not None and not any(options.text.glob("*.txt")):
        parser.error(
            f"--text must be a folder with .txt files, got {str(options.text)!r}. Leave it out to train without."
        )
    torch.set_num_threads(options.threads)
    Training(output=options.output, text=options.text, seed=options.seed).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
