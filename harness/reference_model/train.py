"""Train the reference model: `python -m longbench_run.harness.reference_model train --output runs/reference_model`."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM

from longbench_run.harness.chat import TaskTokenizer
from longbench_run.harness.reference_model.books import SOURCES
from longbench_run.harness.reference_model.card import RECORD
from longbench_run.harness.reference_model.circuit import SLOTS, write_circuit
from longbench_run.harness.reference_model.data import Rows
from longbench_run.harness.reference_model.evaluate import passkey_accuracy
from longbench_run.harness.reference_model.row import GENERATED_SEED, Kind, Row, Source, read_book, read_books
from longbench_run.harness.reference_model.stages import BUNDLED, CURRICULA, Curriculum, Stage
from longbench_run.harness.reference_model.tokenizer import load_tokenizer, train_tokenizer
from longbench_run.harness.tuning.denormals import denormals_are_zero
from longbench_run.tasks.documents import generate_document
from longbench_run.tasks.passkey import Passkey

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transformers import PreTrainedTokenizerFast

VOCABULARY = 2048
BASE = 10000.0
"""Of RoPE, b."""
WARMUP = 100
"""Steps from learning rate 0 at the very beginning."""
MUON_SHARE = 0.3
"""Muon's learning rate, of a stage's. Higher, above all in the MLPs, it undoes the circuit faster than it trains."""
BETAS = (0.9, 0.95)
WEIGHT_DECAY = 0.05
CLIP = 1.0
PADDING = 512
"""The number of predicted tokens in a step is rounded up to a multiple of this."""


def model_config(window: int, *, head_dim: int = BUNDLED.head_dim) -> LlamaConfig:
    """Return the architecture with a native window of ``window`` tokens."""
    return LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=SLOTS * head_dim,
        intermediate_size=6 * head_dim,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=head_dim,
        tie_word_embeddings=False,
        max_position_embeddings=window,
        rope_parameters={"rope_type": "default", "rope_theta": BASE},
        initializer_range=0.04,
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
    """Running share of answers of which every token is right."""
    loss: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)
    """One entry per finished stage."""


class Training:
    """A training that can be killed at any time and goes on from its last checkpoint.

    Args:
        output: Folder of checkpoints and of the model after each stage.
        books: Folder of ``.txt`` files to read, or None.
        seed: Seed of weights and data.
        curriculum: Model and stages.
        device: Where to compute, ``cpu`` or ``cuda``.
        minutes_between_checkpoints: Wall-clock time that a kill can cost.
    """

    def __init__(
        self,
        *,
        output: Path,
        books: Path | None,
        seed: int,
        curriculum: Curriculum = BUNDLED,
        device: str = "cpu",
        minutes_between_checkpoints: float = 2.0,
    ) -> None:
        self.output, self.books, self.seed, self.curriculum = output, books, seed, curriculum
        self.seconds_between_checkpoints = 60 * minutes_between_checkpoints
        output.mkdir(parents=True, exist_ok=True)
        self.tokenizer = self._tokenizer(books)
        self.rows = Rows(Source(self.tokenizer, read_books(books, self.tokenizer)), seed=seed)
        torch.manual_seed(seed)
        self.model = LlamaForCausalLM(model_config(curriculum.stages[0].length, head_dim=curriculum.head_dim))
        write_circuit(self.model, base=BASE, comparers=curriculum.comparers)
        self.model.to(torch.device(device))  # type: ignore[arg-type] # a decorator hides its signature
        self.optimizers = optimizers(self.model)
        self.progress = Progress()
        self._last_save = time.monotonic()
        if self._checkpoint.exists():
            self._load()

    def run(self) -> None:
        """Train through every stage that is left."""
        while self.progress.stage < len(self.curriculum.stages):
            stage = self.curriculum.stages[self.progress.stage]
            with denormals_are_zero():
                self._run_stage(stage)
            self._finish_stage(stage)
        self._record()

    def _run_stage(self, stage: Stage) -> None:
        progress = self.progress
        started, tokens_before = time.monotonic(), progress.tokens
        is_first_since_start = True
        while progress.step < stage.steps:
            step_started = time.monotonic()
            row = self.rows.batch(
                stage=stage.name,
                step=progress.step,
                rows=stage.batch,
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

    def _step(self, stage: Stage, row: Row) -> None:
        progress = self.progress
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self._learning_rate(stage) * group["share"]
        device = self.model.device
        ids = torch.from_numpy(row.ids).to(device)
        kinds = torch.from_numpy(row.kinds).to(device)[:, 1:].flatten()
        places = (kinds != Kind.IGNORED).nonzero()[:, 0]
        targets, kinds = ids[:, 1:].flatten()[places], kinds[places]
        # Only what is predicted goes through the head. Padded: the allocator keeps freed blocks of every size.
        padded = torch.cat([places, places.new_zeros(-len(places) % PADDING)])
        self.model.train()
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.curriculum.in_bfloat16):
            hidden = self.model.model(input_ids=ids, use_cache=False).last_hidden_state
            logits = self.model.lm_head(hidden[:, :-1].flatten(0, 1)[padded])[: len(places)]
        weights = torch.where(kinds >= Kind.COPIED, stage.answer_weight, 1.0)
        nll = functional.cross_entropy(logits.float(), targets, reduction="none")
        loss = (nll * weights).sum() / weights.sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        right = (logits.argmax(-1) == targets).float()
        progress.loss += 0.05 * (loss.item() - progress.loss)
        if (kinds == Kind.COPIED).any():
            progress.copying += 0.05 * (right[kinds == Kind.COPIED].mean().item() - progress.copying)
        if (kinds == Kind.ANSWER).any():
            of_answers = kinds == Kind.ANSWER
            answers = (places[of_answers].diff(prepend=places.new_tensor([-2])) > 1).cumsum(0) - 1
            wrong = torch.zeros(int(answers[-1]) + 1, device=device).index_add_(
                0, answers, 1 - right[of_answers]
            )
            progress.answers += 0.05 * ((wrong == 0).float().mean().item() - progress.answers)

    def _learning_rate(self, stage: Stage) -> float:
        first, last = stage.learning_rate
        rate = first + (last - first) * self.progress.step / stage.steps
        warmup = min(1.0, (self.progress.step + 1) / WARMUP) if self.progress.stage == 0 else 1.0
        return rate * warmup

    def _report(self, stage: Stage, speed: float) -> None:
        progress = self.progress
        left = stage.length * stage.batch * (stage.steps - progress.step)
        left += sum(s.length * s.batch * s.steps for s in self.curriculum.stages[progress.stage + 1 :])
        print(
            f"{stage.name} {progress.step}/{stage.steps}  loss {progress.loss:.3f}  copying {progress.copying:.3f}  "
            f"answers {progress.answers:.3f}  {progress.tokens / 1e6:.2f} M tokens  {speed:,.0f} tokens/s  "
            f"at most {left / speed / 60:.0f} min left",
            flush=True,
        )

    def _finish_stage(self, stage: Stage) -> None:
        """Write the model as it would be shipped, measure it as it is shipped, and go on."""
        progress = self.progress
        folder = self.output / stage.name
        window = min(stage.length, self.curriculum.window)
        export(self.model, self.tokenizer, window=window, folder=folder)
        accuracy = None
        if window >= Passkey().minimum_length(TaskTokenizer(tokenizer=self.tokenizer)):
            accuracy = passkey_accuracy(
                folder,
                context_length=window,
                samples=40,
                output=self.output / "evaluation" / stage.name,
            )
        progress.history.append(
            {
                "stage": stage.name,
                "steps": progress.step,
                "tokens": progress.tokens,
                "seconds": progress.seconds,
            }
            | {"copying": progress.copying, "loss": progress.loss, "passkey": accuracy}
        )
        asked = f"passkey {accuracy:.3f} at {window}" if accuracy is not None else "too short for the passkey"
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
            "device": str(self.model.device),
            "threads": torch.get_num_threads(),
            "stages": self.progress.history,
            "books": [
                {
                    "name": path.name,
                    "source": SOURCES.get(path.name, "as given"),
                    "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                }
                for path in (sorted(self.books.glob("*.txt")) if self.books else ())
            ],
        }
        file = self.output / self.curriculum.stages[-1].name / RECORD
        file.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")

    @property
    def _checkpoint(self) -> Path:
        return self.output / "checkpoint.pt"

    def _save(self) -> None:
        state = {
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "progress": vars(self.progress),
        }
        unfinished = self._checkpoint.with_suffix(".unfinished")
        torch.save(state, unfinished)
        unfinished.replace(self._checkpoint)
        self._last_save = time.monotonic()

    def _load(self) -> None:
        state = torch.load(self._checkpoint, weights_only=True)
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.progress = Progress(**state["progress"])

    def _tokenizer(self, books: Path | None) -> PreTrainedTokenizerFast:
        folder = self.output / "tokenizer"
        if not folder.exists():
            unfinished = self.output / "tokenizer.unfinished"
            train_tokenizer(tokenizer_texts(books), vocab_size=VOCABULARY).save_pretrained(str(unfinished))
            unfinished.replace(folder)
        return load_tokenizer(folder)


def optimizers(model: LlamaForCausalLM) -> tuple[torch.optim.Optimizer, ...]:
    """Return Muon for the matrices inside the layers, scaled to AdamW's step, and AdamW for the rest."""
    vocabulary = [model.model.embed_tokens.weight, model.lm_head.weight]
    matrices = [p for name, p in model.named_parameters() if p.dim() > 1 and ".layers." in name]
    scales = [p for p in model.parameters() if p.dim() == 1]
    return (
        torch.optim.Muon(
            [{"params": matrices, "share": MUON_SHARE}],
            lr=0.0,
            weight_decay=WEIGHT_DECAY,
            adjust_lr_fn="match_rms_adamw",
        ),
        torch.optim.AdamW(
            [
                {"params": vocabulary, "weight_decay": WEIGHT_DECAY, "share": 1.0},
                {"params": scales, "weight_decay": 0.0, "share": 1.0},
            ],
            lr=0.0,
            betas=BETAS,
        ),
    )


def tokenizer_texts(books: Path | None) -> Iterator[str]:
    """Yield what the tokenizer is trained on: books, or generated documents where there are none."""
    if books is None:
        for index in range(100):
            yield generate_document(GENERATED_SEED, index, characters=30_000, split="training")
    for path in sorted(books.glob("*.txt")) if books else ():
        yield read_book(path)


def export(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, *, window: int, folder: Path) -> None:
    """Write a model in bf16 as a Hugging Face folder."""
    shipped = LlamaForCausalLM(model_config(window, head_dim=model.config.head_dim or 0))
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
    parser.add_argument("--books", type=Path, help="folder of .txt files to train on besides generated text")
    parser.add_argument("--model", choices=sorted(CURRICULA), default="bundled", help="default bundled")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and data (default 0)")
    parser.add_argument(
        "--threads", type=int, default=os.cpu_count() or 1, help="CPU threads; default: one per core"
    )
    parser.add_argument(
        "--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu or cuda"
    )
    options = parser.parse_args(arguments)
    if options.books is not None and not any(options.books.glob("*.txt")):
        parser.error(
            f"--books must be a folder with .txt files, got {str(options.books)!r}. Leave it out to train without."
        )
    torch.set_num_threads(options.threads)
    Training(
        output=options.output,
        books=options.books,
        seed=options.seed,
        curriculum=CURRICULA[options.model],
        device=options.device,
    ).run()
    return 0
