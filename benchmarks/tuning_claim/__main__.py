"""Tune and measure: `python -m benchmarks.tuning_claim cpu`; killed at any time, the same command goes on."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import mean
from threading import Event, Thread
from typing import Any

import yaml

from benchmarks.tuning_claim.conversations import TEMPLATE, write_conversations
from benchmarks.tuning_claim.editions import (
    EDITIONS,
    FACTOR,
    LEARNING_RATES,
    RATE_SEED,
    WINDOWS,
    Edition,
)
from benchmarks.tuning_claim.page import Made, write_page
from longbench_run.harness import reference_model
from longbench_run.harness import run as measure
from longbench_run.harness.cli_tune import MATRIX
from longbench_run.harness.environment import device_name
from longbench_run.harness.reference_model.stages import CURRICULA
from longbench_run.harness.reference_model.tokenizer import load_tokenizer
from longbench_run.results.durable import replace_text

_TICK = 10.0
RESULTS = Path(__file__).resolve().parents[1] / "results"


class Study:
    """One edition in one folder.

    Args:
        edition: What is done.
        folder: Of everything that is made; what is there is not made again.
        workers: Processes side by side, with one thread each.
        device: Of each of them, as torch spells it.
    """

    def __init__(self, edition: Edition, folder: Path, *, workers: int, device: str = "cpu") -> None:
        self.edition, self.folder, self.workers, self.device = edition, folder, workers, device
        folder.mkdir(parents=True, exist_ok=True)

    def run(self) -> Path:
        """Do what is left, and return the folder of the run that measures the variants."""
        with self._timed("model"):
            model = self._model()
        with self._timed("choosing the rate"):
            rate = self._rate(model)
        with self._timed("tuning"):
            self._tune(model, rate)
        with self._timed("measuring"):
            return self._measure(model)

    @property
    def seconds(self) -> dict[str, float]:
        """Part -> wall-clock seconds, over all calls."""
        file = self.folder / "seconds.json"
        return dict(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else {}

    @contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        """Count the seconds of a block, to the last `_TICK` whatever ends it."""
        before, started, is_over = self.seconds, time.monotonic(), Event()

        def note() -> None:
            spent = before.get(part, 0.0) + time.monotonic() - started
            text = json.dumps({**before, part: spent}, indent=2) + "\n"
            file = self.folder / "seconds.json"
            replace_text(file, text, temporary=file.with_name(".seconds.json.new"))

        def tick() -> None:
            while not is_over.wait(_TICK):
                note()

        ticking = Thread(target=tick, daemon=True)
        ticking.start()
        try:
            yield
        finally:
            is_over.set()
            ticking.join()
            note()

    def _model(self) -> Path:
        """Return the folder of the model to tune, with a template that writes turns as tasks do."""
        folder = self.folder / "model"
        if folder.exists():
            return folder
        source = reference_model.path()
        if self.edition.trained is not None:
            training = self.folder / "training"
            asked = ["train", "--model", self.edition.trained, "--threads", "1", "--output", str(training)]
            _side_by_side([asked], module="longbench_run.harness.reference_model")
            source = training / CURRICULA[self.edition.trained].stages[-1].name
        unfinished = self.folder / "model.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(source, unfinished)
        tokenizer = load_tokenizer(source)
        tokenizer.chat_template = TEMPLATE
        tokenizer.save_pretrained(str(unfinished))
        unfinished.replace(folder)
        return folder

    @property
    def deviations(self) -> dict[str, Any]:
        """Part of the paper's recipe -> what it was here, where it was another, over all variants."""
        return {
            name: values["here"]
            for recipe in sorted((self.folder / "main").glob("*/recipe.json"))
            for name, values in json.loads(recipe.read_text(encoding="utf-8"))[
                "deviations_from_paper"
            ].items()
        }

    @property
    def rate_losses(self) -> dict[str, float]:
        """Learning rate, as tune takes it -> mean loss of the last step over the edition's methods."""
        return {
            str(rate): mean(
                json.loads(recipe.read_text(encoding="utf-8"))["result"]["losses"][-1]
                for recipe in sorted((self.folder / "rates" / str(rate)).glob("*/recipe.json"))
            )
            for rate in LEARNING_RATES
        }

    def _rate(self, model: Path) -> str:
        """Return the learning rate of all methods, as tune takes it."""
        commands = [
            self._command(
                model,
                self.edition.methods,
                samples=[self.edition.rate_samples],
                rate=str(rate),
                name=f"rates/{rate}",
            )
            for rate in LEARNING_RATES
        ]
        while commands:
            _side_by_side([[*command, "--seed", str(RATE_SEED)] for command in commands[: self.workers]])
            commands = commands[self.workers :]
        losses = self.rate_losses
        return min(losses, key=lambda rate: losses[rate])

    @property
    def _parts(self) -> dict[str, tuple[Sequence[str], Sequence[int]]]:
        """Folder -> methods that are tuned into it, and with how many samples."""
        edition = self.edition
        others = [method for method in edition.halves if method not in edition.methods]
        parts = {"main": (edition.methods, edition.samples), "halves": (others, edition.halves_samples)}
        return {name: part for name, part in parts.items() if all(part)}

    def _tune(self, model: Path, rate: str) -> None:
        seeds = self.edition.seeds
        for name, (methods, samples) in self._parts.items():
            asked = self._command(model, methods, samples=samples, rate=rate, name=name)
            asked += ["--composition", ",".join(self.edition.compositions)]
            shares = [seeds[worker :: self.workers] for worker in range(min(self.workers, len(seeds)))]
            _side_by_side([[*asked, "--seed", ",".join(map(str, share))] for share in shares])
            # All are there: this writes the matrix of all of them.
            _side_by_side([[*asked, "--seed", ",".join(map(str, seeds))]])

    def _command(
        self, model: Path, methods: Sequence[str], *, samples: Sequence[int], rate: str, name: str
    ) -> list[str]:
        """Return a tuning command without its seeds."""
        data = self.folder / "conversations.jsonl"
        if not data.exists():
            longest = FACTOR * self.edition.window
            write_conversations(
                data,
                load_tokenizer(model),
                count=self.edition.conversations,
                shortest=int(self.edition.shortest * longest),
                longest=longest,
            )
        return [
            *("tune", "--model", str(model), "--methods", ",".join(methods), "--device", self.device),
            *("--context-length", f"{FACTOR}x", "--data", str(data), "--learning-rate", rate),
            *("--samples", ",".join(map(str, samples)), "--output", str(self.folder / name)),
        ]

    def _measure(self, model: Path) -> Path:
        entries: list[dict[str, Any]] = [
            {"name": method, "label": f"{method} untuned"}
            for method in dict.fromkeys((*self.edition.methods, *self.edition.halves))
            if method != "none"
        ]
        for name in self._parts:
            matrix = yaml.safe_load((self.folder / name / MATRIX).read_text(encoding="utf-8"))
            entries += matrix["methods"]
        # From Python, no report is written: one of a hundred variants takes minutes, and the page is another.
        return measure(
            models=[{"name": str(model)}],
            methods=entries,
            tasks=[dict(task) for task in self.edition.tasks],
            lengths=[windows * self.edition.window for windows in WINDOWS],
            factor=float(FACTOR),
            dtype="float32",
            devices=[self.device] * self.workers,
            output=self.folder / "run",
        ).folder


def _side_by_side(commands: Sequence[Sequence[str]], *, module: str = "longbench_run.harness") -> None:
    """Run commands at the same time; raise where one fails."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    running = [
        subprocess.Popen([sys.executable, "-m", module, *command], env=environment, stdout=subprocess.DEVNULL)
        for command in commands
    ]
    try:
        codes = [process.wait() for process in running]
    finally:
        for process in running:
            process.kill()
    if any(codes):
        raise SystemExit(f"a part ended with exit codes {codes}; the same command goes on from there")


def main(arguments: Sequence[str] | None = None) -> int:
    """Do an edition, or what is left of it, and write its page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tuning_claim", description=__doc__)
    parser.add_argument("edition", choices=sorted(EDITIONS))
    parser.add_argument("--seeds", help="of tuning, joined by commas; default 0,1,2,3,4")
    parser.add_argument("--samples", help="conversations per variant, joined by commas; default 32,100,300")
    parser.add_argument(
        "--halves",
        type=int,
        help="conversations of the halves that are no main method; 0: untuned alone; default: 100, or the most of --samples",
    )
    parser.add_argument(
        "--workers", type=int, help="processes side by side; default: one per core, and one on a GPU"
    )
    parser.add_argument("--device", default="cpu", help="cpu or cuda:N; default: cpu")
    parser.add_argument(
        "--output", type=Path, default=Path("runs/tuning_claim"), help="folder of what is made"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the page and its figures")
    options = parser.parse_args(arguments)
    edition = EDITIONS[options.edition]
    if options.seeds is not None:
        edition = replace(edition, seeds=tuple(map(int, options.seeds.split(","))))
    if options.samples is not None:
        samples = tuple(map(int, options.samples.split(",")))
        edition = replace(edition, samples=samples, halves_samples=samples[-1:])
    if options.halves is not None:
        edition = replace(edition, halves_samples=(options.halves,) if options.halves else ())
    workers = options.workers or (1 if options.device.startswith("cuda") else os.cpu_count() or 1)
    study = Study(edition, options.output / edition.name, workers=workers, device=options.device)
    run = study.run()
    words = [
        f"--{name} {value}"
        for name in ("seeds", "samples", "halves")
        if (value := getattr(options, name)) is not None
    ]
    made = Made(
        command=" ".join(["python -m benchmarks.tuning_claim", edition.name, *words]),
        seconds=study.seconds,
        rates=study.rate_losses,
        deviations=study.deviations,
        machine=f"{workers} processes on {os.cpu_count()} cores, {device_name(options.device)}",
    )
    write_page(run, options.results, edition=edition, made=made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
