"""How a question becomes tokens: by the chat template of the model's own processor."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from razor_cli.errors import WeightsError, headline

PROBE, ANSWER = "What is this?", "Nothing."  # looked for in what the template makes of them


class Prompts:
    """The words around a question and its answer, and their tokens."""

    def __init__(self, processor: Any, ends: Sequence[int]) -> None:
        self.processor, self.tokenizer = processor, processor.tokenizer
        self.ends = tuple(ends)  # tokens that end an answer
        self.image: int = self.tokenizer.convert_tokens_to_ids(processor.image_token)
        self._prompts: dict[tuple[str, bool], str] = {}
        self._ids: dict[str, list[int]] = {}  # of what is asked again and again: each trial, each state

    def prompt(self, text: str, with_picture: bool) -> str:
        """Return what the model is given for a question, about a picture or about none."""
        if (text, with_picture) not in self._prompts:
            found = self._rendered(text, with_picture, None)
            if found.count(self.processor.image_token) != int(with_picture) or text not in found:
                raise WeightsError(
                    "the chat template of the processor does not hold the question and its picture once",
                    found=repr(found)[:200],
                    fix="save the processor that the model was trained with into its folder",
                )
            self._prompts[text, with_picture] = found
        return self._prompts[text, with_picture]

    @cached_property
    def between(self) -> str:
        """What stands between a prompt and its answer, such as a space. Raises WeightsError where the
        template does not tell.
        """
        asked, whole = self.prompt(PROBE, False), self._rendered(PROBE, False, ANSWER)
        found = whole[len(asked) :].partition(ANSWER)
        if not whole.startswith(asked) or not found[1] or found[0].strip():
            raise WeightsError(
                "the chat template of the model's processor puts an answer elsewhere than behind its prompt",
                allowed=f"{asked!r}, then the answer",
                found=repr(whole)[:200],
                fix="save the chat template that the model was trained with into its folder",
            )
        return found[0]

    @cached_property
    def end(self) -> int:
        """The token that ends an answer: the one that the template writes, else the first of the model's."""
        behind = self._rendered(PROBE, False, ANSWER).rpartition(ANSWER)[2].strip()
        said = self.tokenizer.encode(behind, add_special_tokens=False) if behind else []
        return said[0] if said and said[0] in self.ends else self.ends[0]

    def ids(self, text: str, with_picture: bool) -> list[int]:
        """Return the tokens of a prompt; one of them stands for all tokens of its picture."""
        return self._encoded(self.prompt(text, with_picture))

    def answer_ids(self, text: str, with_picture: bool, answer: str) -> list[int]:
        """Return the tokens of an answer behind its prompt, the end among them. Raises WeightsError where the
        tokenizer joins it with what stands before.
        """
        asked = self.ids(text, with_picture)
        whole = self._encoded(self.prompt(text, with_picture) + self.between + answer)
        if whole[: len(asked)] != asked:
            raise WeightsError(
                "the tokenizer joins an answer with the prompt before it: its tokens cannot be told apart",
                found=repr(answer),
                fix="give an answer that begins with a letter, or a folder with the model's own tokenizer",
            )
        return [*whole[len(asked) :], self.end]

    def text(self, ids: Sequence[int]) -> str:
        """Return the words of an answer's tokens."""
        found: str = self.tokenizer.decode(ids, skip_special_tokens=True)
        return found.strip()

    def _encoded(self, prompt: str) -> list[int]:
        if prompt not in self._ids:
            self._ids[prompt] = self._tokens(prompt)
        return self._ids[prompt]

    def _tokens(self, prompt: str) -> list[int]:
        start = self.tokenizer.bos_token
        own = start is not None and prompt.startswith(start)  # the template begins with it already
        found: list[int] = self.tokenizer.encode(prompt, add_special_tokens=not own)
        if not own and found and found[-1] in self.ends:  # a tokenizer that closes what it is given
            found = found[:-1]
        return found

    def _rendered(self, text: str, with_picture: bool, answer: str | None) -> str:
        shown = [{"type": "image"}] if with_picture else []
        talk = [{"role": "user", "content": [*shown, {"type": "text", "text": text}]}]
        if answer is not None:
            talk.append({"role": "assistant", "content": [{"type": "text", "text": answer}]})
        try:
            found: str = self.processor.apply_chat_template(
                talk, add_generation_prompt=answer is None, tokenize=False
            )
        except Exception as error:  # a template may raise anything
            raise WeightsError(
                "the chat template of the model's processor cannot be followed",
                found=headline(error),
                fix="save the chat template that the model was trained with into its folder",
            ) from error
        return found
