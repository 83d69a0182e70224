"""The contract suite finds planted faults: one task that keeps every promise, and each way to break one."""

from __future__ import annotations

import dataclasses
import random
import types
from dataclasses import dataclass
from typing import ClassVar

import pytest

from longbench_run.tasks.base import (
    Generated,
    GenerateRequest,
    Metric,
    NllBucket,
    Sample,
    Score,
    ScoreRequest,
    ScoreWindow,
    TaskError,
    TaskInfo,
)
from longbench_run.tasks.checks import check_at_least, check_protocol
from longbench_run.tasks.testing import BrokenPromise, TaskContract, broken_promises, checks_of

INFO = TaskInfo(
    name="recall",
    version=1,
    summary="Recall the first word.",
    source="here",
    licence="Apache-2.0",
    metrics=(Metric(name="accuracy", higher_is_better=True, minimum=0.0, maximum=1.0, is_binary=True),),
    protocols=("recall-v1", "recall-v2"),
    default_count=20,
    parameters={"protocol": "recall-v1 (default), recall-v2.", "words": "Words; default 3."},
)
MINIMUM, BUDGET = 40, 8


@dataclass(frozen=True, kw_only=True)
class Honest:
    """A task that keeps every promise, with a place to plant a fault at every step."""

    protocol: str = "recall-v1"
    words: int = 3
    information: ClassVar[TaskInfo] = INFO

    def __post_init__(self):
        check_protocol(INFO, self.protocol)
        check_at_least("recall", "words", self.words, 1, default=3)

    @property
    def info(self):
        return self.information

    def parameters(self):
        return {"words": self.words}

    def minimum_length(self, tokenizer):
        return MINIMUM + 12 * self.words + BUDGET

    def drawn(self, seed, context_length, index, count):
        return random.Random(f"{seed}:{context_length}:{index}")

    def text(self, rng, tokenizer, budget):
        words = " ".join(f"{rng.randrange(10**9, 10**10)}" for _ in range(self.words))
        return words, f"{words.split()[0]} "

    def encode(self, text, tokenizer):
        return tokenizer.encode(text)

    def sample(self, index, count, context_length, seed, tokenizer):
        rng = self.drawn(seed, context_length, index, count)
        prompt, target = self.text(rng, tokenizer, context_length - BUDGET)
        ids = tuple(self.encode(prompt, tokenizer))
        request = GenerateRequest(prompt_ids=ids, max_new_tokens=BUDGET)
        return Sample(
            index=index, context_length=context_length, request=request, target=target.strip(), depth=0.0
        )

    def samples(self, *, context_length, count, seed, tokenizer):
        if context_length < self.minimum_length(tokenizer):
            raise TaskError("recall: context_length must be longer.")
        return (self.sample(index, count, context_length, seed, tokenizer) for index in range(count))

    def score(self, sample, output):
        if not isinstance(output, Generated):
            raise TypeError("recall scores Generated.")
        return Score(scores={"accuracy": self.accuracy(sample, output.text)}, prediction=output.text)

    def accuracy(self, sample, text):
        return float(text.strip() == sample.target)

    def group_key(self, *, context_length, index):
        return f"{context_length}:{index}"


def informed(**changes):
    """Return an honest task's class that says something else of itself."""
    return types.new_class(
        "Informed", (Honest,), {}, lambda body: body.update(information=dataclasses.replace(INFO, **changes))
    )


def metric(**changes):
    return informed(metrics=(dataclasses.replace(INFO.metrics[0], **changes),))


class ByCount(Honest):
    def drawn(self, seed, context_length, index, count):
        return random.Random(f"{seed}:{context_length}:{index}:{count}")


class Remembers(Honest):
    """Samples depend on how many were made before."""

    made: ClassVar[list[int]] = []

    def drawn(self, seed, context_length, index, count):
        self.made.append(index)
        return random.Random(len(self.made))


class OneGeneratorForAll(Honest):
    """An iterator that takes turns with another draws what the other left."""

    shared: ClassVar[random.Random] = random.Random()

    def samples(self, *, context_length, count, seed, tokenizer):
        self.shared.seed(f"{seed}:{context_length}")
        return super().samples(context_length=context_length, count=count, seed=seed, tokenizer=tokenizer)

    def drawn(self, seed, context_length, index, count):
        return self.shared


class GloballyDrawn(Honest):
    def drawn(self, seed, context_length, index, count):
        return random.Random(random.randrange(10**9))


class GloballySeeded(Honest):
    def drawn(self, seed, context_length, index, count):
        random.seed(f"{seed}:{context_length}:{index}")
        return random


class HashedText(Honest):
    """Texts have other hashes in every process."""

    def drawn(self, seed, context_length, index, count):
        return random.Random(hash(f"{seed}:{context_length}:{index}"))


class UsesTheHarness(Honest):
    def text(self, rng, tokenizer, budget):
        import longbench_run.harness  # noqa: F401

        return super().text(rng, tokenizer, budget)


class Local:
    """Hides a class from other processes."""

    @staticmethod
    def task():
        class Hidden(Honest):
            pass

        return Hidden


class AllAlike(Honest):
    def drawn(self, seed, context_length, index, count):
        return random.Random(seed)


class BackToFront(Honest):
    def samples(self, *, context_length, count, seed, tokenizer):
        found = super().samples(context_length=context_length, count=count, seed=seed, tokenizer=tokenizer)
        return reversed(list(found))


class OtherLength(Honest):
    def sample(self, index, count, context_length, seed, tokenizer):
        return dataclasses.replace(
            super().sample(index, count, context_length, seed, tokenizer), context_length=9999
        )


class OneTokenTooLong(Honest):
    def encode(self, text, tokenizer):
        ids = tokenizer.encode(text)
        return [*ids, *[65] * (self.minimum_length(tokenizer) - BUDGET + 1 - len(ids))]


class NoBudget(Honest):
    def sample(self, index, count, context_length, seed, tokenizer):
        sample = super().sample(index, count, context_length, seed, tokenizer)
        return dataclasses.replace(sample, request=dataclasses.replace(sample.request, max_new_tokens=0))


class AnyLength(Honest):
    def samples(self, *, context_length, count, seed, tokenizer):
        return (self.sample(index, count, context_length, seed, tokenizer) for index in range(count))


class RefusesLate(Honest):
    """A generator function refuses when the first sample is asked for."""

    def samples(self, *, context_length, count, seed, tokenizer):
        yield from super().samples(context_length=context_length, count=count, seed=seed, tokenizer=tokenizer)


class SpecialTokensTwice(Honest):
    def encode(self, text, tokenizer):
        return [*tokenizer.encode("a"), *tokenizer.encode(text)]


class SpecialTokensForgotten(Honest):
    def encode(self, text, tokenizer):
        return tokenizer.encode(text, add_special_tokens=False)


class OutsideTheVocabulary(Honest):
    def encode(self, text, tokenizer):
        return [*tokenizer.encode(text), 10**6]


class SecretChat(Honest):
    def encode(self, text, tokenizer):
        return tokenizer.encode_chat(text)


class TooDeep(Honest):
    def sample(self, *arguments):
        return dataclasses.replace(super().sample(*arguments), depth=1.5)


class LostUncut(Honest):
    def sample(self, *arguments):
        return dataclasses.replace(super().sample(*arguments), tokens_truncated=0, evidence_survived=False)


class OtherTarget(Honest):
    def sample(self, *arguments):
        sample = super().sample(*arguments)
        return dataclasses.replace(sample, answers=("x", sample.target))


class SecondAnswerWrong(Honest):
    def sample(self, *arguments):
        sample = super().sample(*arguments)
        return dataclasses.replace(sample, answers=(sample.target, "other"))


class NoTarget(Honest):
    def sample(self, *arguments):
        return dataclasses.replace(super().sample(*arguments), target=None)


class GroupsAtRandom(Honest):
    def group_key(self, *, context_length, index):
        return str(random.random())


class EmptyIsRight(Honest):
    def accuracy(self, sample, text):
        return float(not text.strip())


class AlwaysRight(Honest):
    def accuracy(self, sample, text):
        return 1.0


class ReadsNumbers(Honest):
    """`int` raises for what is no number, and for numbers of more than 4300 digits."""

    def accuracy(self, sample, text):
        return float(text.strip().isdigit() and int(text) == int(sample.target))


class FirstWord(Honest):
    """There is none in an empty output."""

    def accuracy(self, sample, text):
        return float(text.split()[0] == sample.target)


class Percent(Honest):
    def accuracy(self, sample, text):
        return 100 * super().accuracy(sample, text)


class NearlyRight(Honest):
    def accuracy(self, sample, text):
        return 0.9 * super().accuracy(sample, text)


class LongIsBetter(Honest):
    def accuracy(self, sample, text):
        return 1.0 if text.strip() == sample.target else 0.001 * len(text)


class OtherMetric(Honest):
    def score(self, sample, output):
        return Score(scores={"f1": super().score(sample, output).scores["accuracy"]})


class ScoresAnything(Honest):
    def score(self, sample, output):
        return Score(scores={"accuracy": float(getattr(output, "text", "").strip() == sample.target)})


class NoHelp(Honest):
    information = dataclasses.replace(INFO, parameters={"protocol": "recall-v1 (default)."})


@dataclass(frozen=True, kw_only=True)
class Silent(Honest):
    """A parameter that changes samples, and is in no record."""

    def parameters(self):
        return {}


@dataclass(frozen=True, kw_only=True)
class AnyProtocol(Honest):
    def __post_init__(self):
        """Refuse nothing."""


@dataclass(frozen=True, kw_only=True)
class SecondByDefault(Honest):
    protocol: str = "recall-v2"


@dataclass(frozen=True, kw_only=True)
class Listed(Honest):
    """A parameter that has no text."""

    information = dataclasses.replace(INFO, parameters={**INFO.parameters, "names": "Names."})
    names: tuple[str, ...] = ("a", "b")


class ByIdentity(Honest):
    __eq__ = object.__eq__
    __hash__ = object.__hash__


class NamesAPath(Honest):
    def parameters(self):
        return {"words": self.words, "data": "/home/me/data.json"}


class NamesTheProtocol(Honest):
    def parameters(self):
        return {"words": self.words, "protocol": self.protocol}


class Tuples(Honest):
    def parameters(self):
        return {"words": (self.words, 1)}


NLL = (Metric(name="nll", higher_is_better=False, minimum=0.0),)


class Scores(Honest):
    """A task whose tokens are scored."""

    information = dataclasses.replace(INFO, metrics=NLL)
    first: ClassVar[int] = 1

    def sample(self, *arguments):
        sample = super().sample(*arguments)
        window = ScoreWindow(token_ids=sample.request.prompt_ids, first_scored=self.first)
        return dataclasses.replace(sample, request=ScoreRequest(windows=(window,)), target=None)

    def score(self, sample, output):
        if isinstance(output, Generated):
            raise TypeError("recall scores Scored.")
        (nll,) = output.nll
        tokens = len(nll)
        buckets = (NllBucket(start=1, stop=1 + tokens, nll_sum=sum(nll), tokens=tokens),)
        return Score(
            scores={"nll": sum(nll) / tokens}, weight=self.weight(tokens), nll_buckets=self.cut(buckets)
        )

    def weight(self, tokens):
        return tokens

    def cut(self, buckets):
        return buckets


class ScoresTheFirst(Scores):
    first = 0


class WeightsNothing(Scores):
    def weight(self, tokens):
        return None


class BucketsTwice(Scores):
    def cut(self, buckets):
        return buckets * 2


def contract(task):
    return type("Contract", (TaskContract,), {"task": task})()


@pytest.mark.parametrize("task", [Honest(), Honest(protocol="recall-v2", words=2), Scores()], ids=repr)
def test_an_honest_task_that_no_registry_knows_passes(task):
    assert broken_promises(contract(task)) == {}


FUNCTION = "test_a_sample_is_a_function_of_seed_length_and_index"
ELSEWHERE = "test_another_process_makes_the_same_samples_without_torch"
GLOBAL = "test_global_random_state_is_left_alone"
FIT = "test_prompt_and_answer_fit_into_the_context_length"
REFUSED = "test_a_length_below_the_smallest_is_refused_at_the_call"
TOKENS = "test_tokens_are_the_tokenizers"
CLAIMS = "test_what_a_sample_says_of_itself_can_be"
BEST = "test_the_right_answer_scores_best"
WHATEVER = "test_whatever_a_model_says_is_scored"
SAYS = "test_it_says_what_it_is"
METRICS = "test_its_metrics_can_be_aggregated"
PROTOCOLS = "test_its_protocols_are_named"
WRITTEN = "test_its_parameters_can_be_written"
RECORDED = "test_its_parameters_are_ready_for_records"
FAULTS = [
    (ByCount, "test_fewer_samples_begin_more", "Fewer samples are the first of more. Found: others where 3"),
    (Remembers, FUNCTION, "Found: others after samples of another seed."),
    (OneGeneratorForAll, FUNCTION, "Found: others where two iterators take turns."),
    (BackToFront, FUNCTION, "in the order of their indices. Found: [5, 4,"),
    (OtherLength, FUNCTION, "Found: {9999}, not "),
    (AllAlike, "test_samples_are_not_all_the_same", "Samples differ. Found: 6 times the same request."),
    (GloballyDrawn, GLOBAL, "The global random state is left alone."),
    (GloballySeeded, GLOBAL, "The global random state is left alone."),
    (HashedText, ELSEWHERE, "Samples are the same in every process."),
    (UsesTheHarness, ELSEWHERE, "A task needs no model. Found: longbench_run.harness imported."),
    (Local.task(), ELSEWHERE, "Another process can make the samples too. Found: AttributeError"),
    (OneTokenTooLong, FIT, "Prompt plus answer budget fit into the context length."),
    (NoBudget, FIT, "The answer budget is at least 1"),
    (ScoresTheFirst, FIT, "A window fits into the context length and scores from its second token at the earliest."),
    (AnyLength, REFUSED, "Found: nothing was raised for 83 tokens."),
    (RefusesLate, REFUSED, "Found: nothing was raised for 83 tokens."),
    (SpecialTokensTwice, TOKENS, "at the beginning, once. Found: 2 of them, first token 256."),
    (SpecialTokensForgotten, TOKENS, "at the beginning, once. Found: 0 of them"),
    (OutsideTheVocabulary, TOKENS, "Token ids are in the vocabulary. Found: [1000000]."),
    (SecretChat, TOKENS, "uses_chat_template is declared False: prompts do not go through encode_chat."),
    (informed(uses_chat_template=True), TOKENS, "uses_chat_template is declared True: prompts go through"),
    (TooDeep, CLAIMS, "A depth lies in [0, 1]. Found: 1.5."),
    (LostUncut, CLAIMS, "Evidence is lost by a cut."),
    (OtherTarget, CLAIMS, "The target is the first of the answers."),
    (GroupsAtRandom, "test_the_group_is_known_from_the_plan", "depends on length and index alone."),
    (SecondAnswerWrong, BEST, "Every right answer has the best accuracy. Found: 0.0 for 'other', 1.0 for the first."),
    (NoTarget, BEST, "A sample has a target. Found: None."),
    (EmptyIsRight, BEST, "The right answer has the best accuracy there is, 1.0. Found: 0.0"),
    (AlwaysRight, BEST, "The right answer has a better accuracy than a wrong one. Found: 1.0 and 1.0."),
    (NearlyRight, BEST, "accuracy is declared binary. Found: 0.9"),
    (ReadsNumbers, WHATEVER, "Every output has a score. Found: ValueError: Exceeds the limit"),
    (FirstWord, WHATEVER, "Every output has a score. Found: IndexError: list index out of range for ''."),
    (Percent, WHATEVER, "accuracy lies within [0.0, 1.0]. Found: 100.0 for"),
    (LongIsBetter, WHATEVER, "accuracy is declared binary. Found: 0.0"),
    (metric(higher_is_better=False), WHATEVER, "Nothing has a better accuracy than the right answer."),
    (OtherMetric, WHATEVER, "Scores are those of the metrics. Found: ['f1']."),
    (ScoresAnything, "test_an_output_of_the_other_kind_is_refused", "Found: nothing was raised."),
    (WeightsNothing, "test_scored_tokens_add_up", "The weight is the number of scored tokens. Found: None."),
    (BucketsTwice, "test_scored_tokens_add_up", "Buckets hold "),
    (informed(name="Recall"), SAYS, "A name is lower-case letters, digits and _. Found: 'Recall'."),
    (informed(version=0), SAYS, "The version is a whole number from 1. Found: 0."),
    (informed(licence=" "), SAYS, "The licence is one line of text. Found: ' '."),
    (informed(default_count=0), SAYS, "default_count is at least 1. Found: 0."),
    (informed(metrics=()), METRICS, "Metrics have names of their own. Found: []."),
    (metric(minimum=1.0), METRICS, "accuracy has a minimum below its maximum. Found: 1.0 and 1.0."),
    (metric(maximum=100.0), METRICS, "accuracy is declared binary: its bounds are 0 and 1."),
    (informed(protocols=("recall-v2",)), PROTOCOLS, "The protocol in force is one of the task's."),
    (informed(references={"recall-v3": "floor"}), PROTOCOLS, "References are protocols of the task."),
    (SecondByDefault, PROTOCOLS, "The default protocol is the first of them."),
    (AnyProtocol, PROTOCOLS, "An unknown protocol is refused by one line in a TaskError."),
    (ByIdentity, "test_it_is_a_value", "A task equals its copy. Found: another value."),
    (NoHelp, WRITTEN, "info.parameters has a line for every parameter, and for nothing else. Found: ['words']"),
    (Listed, WRITTEN, "Parameters written as text are read back."),
    (NamesAPath, RECORDED, "parameters() names no path of this machine. Found: ['/home/me/data.json']."),
    (NamesTheProtocol, RECORDED, "parameters() leaves out the protocol."),
    (Tuples, RECORDED, "parameters() survives JSON."),
    (
        Silent,
        "test_tasks_of_equal_parameters_have_equal_samples",
        "What changes samples is in parameters(). Found: other samples with words=4, and the same parameters().",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("fault", "check", "message"), FAULTS, ids=lambda part: getattr(part, "__name__", None)
)
def test_a_planted_fault_is_found_and_said(fault, check, message):
    with pytest.raises(BrokenPromise) as caught:
        getattr(contract(fault()), check)()

    assert message in str(caught.value)


def test_every_check_has_a_planted_fault_and_says_its_promise():
    assert {check for _, check, _ in FAULTS} == set(checks_of(TaskContract))
    assert all(getattr(TaskContract, name).__doc__ for name in checks_of(TaskContract))


def test_a_right_answer_that_is_not_the_target_is_told_to_the_suite():
    class Told(TaskContract):
        task = NoTarget()

        def right(self, sample):
            return Generated(token_ids=(), text="None")

    with pytest.raises(BrokenPromise, match=r"^The right answer has the best accuracy there is, 1\.0\."):
        Told().test_the_right_answer_scores_best()
