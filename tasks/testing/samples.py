"""Promises about samples: functions of seed, length and index alone, that fit into the context length."""

from __future__ import annotations

import copy
import random

from longbench_run.tasks.base import ChooseRequest, EntropyRequest, GenerateRequest, ScoreRequest, TaskError
from longbench_run.tasks.testing.elsewhere import digest, made_elsewhere
from longbench_run.tasks.testing.promises import require
from longbench_run.tasks.testing.subject import Subject, inputs_of
from longbench_run.tasks.testing.tokenizers import TURN_BEGINS, Bytes


class SamplePromises(Subject):
    """The same samples for every method, whatever is asked for before, beside or after."""

    def test_a_sample_is_a_function_of_seed_length_and_index(self) -> None:
        """Samples are the same again: after other ones, from a copy of the task, and taken in turn with others."""
        for tokenizer in self.tokenizers:
            first = self.samples(tokenizer)
            promise = "A sample is a function of seed, length and index, whatever came before."
            indices = [sample.index for sample in first]
            require(
                indices == sorted(set(indices)), "Samples come in the order of their indices.", f"{indices}."
            )
            lengths = {sample.context_length for sample in first}
            require(
                lengths == {self.length(tokenizer)},
                "A sample names the context length that was asked for.",
                f"{lengths}, not {self.length(tokenizer)}.",
            )
            self.samples(tokenizer, more=self.more_tokens[0], seed=5)
            require(self.samples(tokenizer) == first, promise, "others after samples of another seed.")
            fresh = copy.deepcopy(self.task)
            require(self.samples(tokenizer, task=fresh) == first, promise, "others from a copy of the task.")
            one, other = (
                self.task.samples(
                    context_length=self.length(tokenizer), count=self.count, seed=seed, tokenizer=tokenizer
                )
                for seed in (0, 1)
            )
            in_turn = zip(one, other, strict=False)
            require(
                [sample for sample, _ in in_turn] == first, promise, "others where two iterators take turns."
            )

    def test_fewer_samples_begin_more(self) -> None:
        """Sample i does not depend on how many are asked for."""
        for tokenizer in self.tokenizers:
            some, all_of_them = (self.samples(tokenizer, count=n) for n in (self.count // 2, self.count))
            require(
                some == [sample for sample in all_of_them if sample.index < self.count // 2],
                "Fewer samples are the first of more.",
                f"others where {self.count // 2} are asked for instead of {self.count}.",
            )

    def test_samples_are_not_all_the_same(self) -> None:
        """Several samples ask several things."""
        requests = {sample.request for sample in self.samples(self.tokenizers[0])}
        require(len(requests) > 1, "Samples differ.", f"{self.count} times the same request.")

    def test_global_random_state_is_left_alone(self) -> None:
        """Samples neither draw from the global random state nor set it."""
        kept = random.getstate()
        try:
            random.seed(1)
            state, first = random.getstate(), self.samples(self.tokenizers[0])
            require(random.getstate() == state, "The global random state is left alone.", "another state.")
            random.seed(2)
            require(
                self.samples(self.tokenizers[0]) == first,
                "Samples do not depend on the global random state.",
                "others after random.seed.",
            )
        finally:
            random.setstate(kept)

    def test_another_process_makes_the_same_samples_without_torch(self) -> None:
        """Samples do not depend on how texts are hashed, and making them imports neither torch nor the harness."""
        tokenizer = Bytes()
        length, count = self.length(tokenizer), min(2, self.count)
        found, unwanted = made_elsewhere(self.task, context_length=length, count=count)
        mine = self.task.samples(context_length=length, count=count, seed=0, tokenizer=tokenizer)
        require(
            found == digest(mine),
            "Samples are the same in every process.",
            "others in a new one, where texts have other hashes.",
        )
        require(not unwanted, "A task needs no model.", f"{', '.join(unwanted)} imported.")

    def test_prompt_and_answer_fit_into_the_context_length(self) -> None:
        """Prompt plus answer budget, and every window, are at most as long as the context."""
        for tokenizer in self.tokenizers:
            for more in self.more_tokens:
                for sample in self.samples(tokenizer, more=more, count=2):
                    request, limit = sample.request, sample.context_length
                    if isinstance(request, GenerateRequest):
                        require(
                            0 <= request.min_new_tokens <= request.max_new_tokens
                            and request.max_new_tokens > 0,
                            "The answer budget is at least 1 and at least min_new_tokens.",
                            f"{request.max_new_tokens} and {request.min_new_tokens}.",
                        )
                        used = len(request.prompt_ids) + request.max_new_tokens
                        require(
                            bool(request.prompt_ids) and used <= limit,
                            "Prompt plus answer budget fit into the context length.",
                            f"{len(request.prompt_ids)} + {request.max_new_tokens} tokens of {limit}.",
                        )
                    # The last token of a continuation is predicted, not read.
                    unread = isinstance(request, ChooseRequest)
                    if isinstance(request, EntropyRequest):
                        require(
                            0 < len(request.token_ids) <= limit,
                            "A text fits into the context length.",
                            f"{len(request.token_ids)} tokens of {limit}.",
                        )
                        require(
                            request.edges[0] == 0
                            and list(request.edges) == sorted(set(request.edges))
                            and request.edges[-1] < len(request.token_ids),
                            "Buckets begin at 0 and end with the text.",
                            f"edges {request.edges} of {len(request.token_ids)} tokens.",
                        )
                    windows = request.windows if isinstance(request, ScoreRequest | ChooseRequest) else ()
                    for window in windows:
                        require(
                            1 <= window.first_scored < len(window.token_ids) <= limit + unread,
                            "A window fits into the context length and scores from its second token at the earliest.",
                            f"{len(window.token_ids)} tokens of {limit}, scored from {window.first_scored}.",
                        )

    def test_a_length_below_the_smallest_is_refused_at_the_call(self) -> None:
        """`samples` raises `TaskError` with one line before any sample is asked for."""
        for tokenizer in self.tokenizers:
            promise = (
                "A context length below minimum_length is refused at the call, by one line in a TaskError."
            )
            length = self.task.minimum_length(tokenizer) - 1
            try:
                self.task.samples(context_length=length, count=1, seed=0, tokenizer=tokenizer)
            except TaskError as error:
                require("\n" not in str(error), promise, f"{str(error)!r}.")
            else:
                require(False, promise, f"nothing was raised for {length} tokens.")

    def test_tokens_are_the_tokenizers(self) -> None:
        """Ids are in the vocabulary, special tokens stand where the tokenizer puts them, turns where they are declared."""
        for tokenizer in self.tokenizers:
            for sample in self.samples(tokenizer, count=2):
                for ids in inputs_of(sample):
                    outside = [token for token in ids if not 0 <= token < tokenizer.vocabulary]
                    require(not outside, "Token ids are in the vocabulary.", f"{outside[:3]}.")
                    chat = self.task.info.uses_chat_template
                    require(
                        (TURN_BEGINS in ids) == chat,
                        f"uses_chat_template is declared {chat}: prompts {'go' if chat else 'do not go'} "
                        "through encode_chat.",
                        "the opposite.",
                    )
                ids = inputs_of(sample)[0]
                bos = tokenizer.bos_token_id
                if bos is not None:
                    require(
                        ids[0] == bos and bos not in ids[1:],
                        "The token that begins a text is at the beginning, once.",
                        f"{ids.count(bos)} of them, first token {ids[0]}.",
                    )

    def test_what_a_sample_says_of_itself_can_be(self) -> None:
        """Depths are shares, counts are no less than 0, and evidence that is lost was lost by a cut."""
        for sample in self.samples(self.tokenizers[0]):
            depth, cut = sample.depth, sample.tokens_truncated
            require(depth is None or 0 <= depth <= 1, "A depth lies in [0, 1].", f"{depth}.")
            require(cut is None or cut >= 0, "tokens_truncated is at least 0.", f"{cut}.")
            require(
                sample.evidence_survived is not False or cut != 0,
                "Evidence is lost by a cut.",
                "evidence_survived is False where nothing was cut.",
            )
            require(
                not sample.answers or sample.target == sample.answers[0],
                "The target is the first of the answers.",
                f"{sample.target!r} and {sample.answers!r}.",
            )

    def test_the_group_is_known_from_the_plan(self) -> None:
        """`group_key` is a text that depends on length and index alone."""
        length = self.length(self.tokenizers[0])
        for index in range(self.count):
            first, again = (
                task.group_key(context_length=length, index=index)
                for task in (self.task, copy.deepcopy(self.task))
            )
            require(
                isinstance(first, str) and first == again,
                "group_key is a text that depends on length and index alone.",
                f"{first!r}, then {again!r}.",
            )
