"""Promises about the block inside which a method is applied: what it leaves, refuses and names."""

from __future__ import annotations

import copy
from typing import Any

import torch
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from longbench_run.harness.errors import UnknownName
from longbench_run.harness.methods import Method, parse_method
from longbench_run.harness.testing.subject import Subject, logits
from longbench_run.tasks.testing.promises import require


class _Interrupted(BaseException):
    """Leaves a block as Ctrl-C does."""


class BlockPromises(Subject):
    """A block changes a model while it lasts, and nothing else."""

    def test_it_says_what_it_is(self) -> None:
        """Summary, source and docstring are there for `list` and for readers."""
        for component in self.value.components:
            for what, text in (
                ("summary", component.summary),
                ("source", component.source),
                ("docstring", type(component).__doc__),
            ):
                require(bool(text), f"{component.name} has a {what}.", "none.")

    def test_its_text_gives_the_same_value_back(self) -> None:
        """The canonical text, as written and with every parameter filled in, parses back to an equal method."""
        model = self.make_model()
        with self.applied(model) as applied:
            values = (self.value, applied.method)
        for value in values:
            back = _parsed(value)
            if back is not None:
                require(back == value, f"{value.canonical} parses back to the same value.", f"{back}.")

    def test_the_block_leaves_no_trace(self) -> None:
        """After the block, and after an exception in it, the model computes and looks as before."""
        model, ids = self.make_model(), self.ids()
        plain, before = logits(model, ids), everything(model)
        for error in (None, _Interrupted):
            try:
                with self.applied(model, sample=self.tokens):
                    logits(model, ids)
                    if error is not None:
                        raise error
            except _Interrupted:
                pass
            after = everything(model)
            left = sorted(
                name for name in before.keys() | after.keys() if before.get(name) != after.get(name)
            )
            when = "The block" if error is None else "A block that an exception ends"
            require(not left, f"{when} leaves no trace.", f"changes of {', '.join(left)}.")
            require(torch.equal(logits(model, ids), plain), f"{when} leaves no trace.", "other logits.")

    def test_it_can_be_applied_again_and_again(self) -> None:
        """A second block computes what the first did, bit by bit."""
        model, found = self.make_model(), []
        for _ in range(2):
            with self.applied(model, sample=self.tokens):
                found.append(logits(model, self.ids()))
        require(torch.equal(*found), "A second block computes what the first did.", "other logits.")

    def test_training_mode_stays_as_it_was(self) -> None:
        """Inside the block every module is in the mode that it was in before."""
        model = self.make_model().train()
        next(module for module in model.modules() if not list(module.children())).eval()
        modes = [module.training for module in model.modules()]
        with self.applied(model):
            inside = [module.training for module in model.modules()]
        require(inside == modes, "Modules stay in training or evaluation mode.", "another mode inside.")

    def test_a_second_block_on_one_model_is_refused(self) -> None:
        """Two methods on one model would meet without a word."""
        model, refused = self.make_model(), False
        with self.applied(model):
            try:
                with self.applied(model):
                    pass
            except RuntimeError:
                refused = True
        require(refused, "A second block on one model is refused.", "nothing was raised.")

    def test_two_models_at_once_do_not_meet(self) -> None:
        """Another method on another model changes nothing here."""
        model, other = self.make_model(), self.make_model()
        with self.applied(model, sample=self.tokens):
            alone = logits(model, self.ids())
            with parse_method("pi:factor=3").applied_to(other):
                logits(other, self.ids(70))
                beside = logits(model, self.ids())
        require(torch.equal(alone, beside), "Another model beside changes nothing.", "other logits.")

    def test_the_hash_names_what_was_applied(self) -> None:
        """Two blocks have one hash where they compute the same, and two where a parameter differs."""
        model, hashes = self.make_model(), []
        for target in (self.context_length, self.context_length, 2 * self.context_length):
            with self.value.applied_to(model, context_length=target) as applied:
                hashes.append((applied.method.canonical, applied.hash))
        require(hashes[0] == hashes[1], "The same block has the same hash.", f"{hashes[:2]}.")
        same = hashes[0][0] == hashes[2][0], hashes[0][1] == hashes[2][1]
        require(same[0] == same[1], "Other parameters have another hash.", f"{hashes[1:]}.")


def everything(model: Any) -> dict[str, object]:
    """Return all that a block could leave behind: attributes, weights, configuration, hooks, registered names."""
    found: dict[str, object] = {
        "the configuration": copy.deepcopy(model.config.to_dict()),
        "the attention implementation": model.config._attn_implementation,
        "transformers' attention registry": list(ALL_ATTENTION_FUNCTIONS),
        "transformers' mask registry": list(ALL_MASK_ATTENTION_FUNCTIONS),
    }
    for name, module in model.named_modules():
        for key, value in vars(module).items():
            found[f"{name or 'the model'}.{key}"] = repr(value)
    return found


def _parsed(method: Method) -> Method | None:
    """Return what a method's text gives; None where a component is a value that no registry knows."""
    try:
        return parse_method(method.canonical)
    except UnknownName:
        return None
