"""A local Hugging Face chat model that answers messages, greedily."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from vidalign.backbones.llm import load_hf


class LocalChat:
    """messages -> text, with the model's own chat template; loaded when first asked."""

    def __init__(self, path: Path | str, *, max_new_tokens: int = 64, device: str | None = None) -> None:
        self.path, self.max_new_tokens = str(path), max_new_tokens
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self._parts: tuple[Any, Any] | None = None

    def __call__(self, messages: list[dict[str, str]]) -> str:
        """The model's reply without special tokens."""
        tokenizer, lm = self._loaded()
        prompt = self._prompt(tokenizer, messages)
        ids = tokenizer(prompt, return_tensors="pt", add_special_tokens=False).to(self.device)
        with torch.no_grad():
            made = lm.generate(
                input_ids=ids["input_ids"],
                attention_mask=ids["attention_mask"],
                do_sample=False,
                max_new_tokens=self.max_new_tokens,
                pad_token_id=tokenizer.pad_token_id or tokenizer.eos_token_id or 0,
            )
        return tokenizer.decode(made[0, ids["input_ids"].shape[1] :], skip_special_tokens=True)

    def _prompt(self, tokenizer: Any, messages: list[dict[str, str]]) -> str:
        if tokenizer.chat_template:
            return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        # A model without a template: the texts one below the other.
        return "\n\n".join(message["content"] for message in messages) + "\n"

    def _loaded(self) -> tuple[Any, Any]:
        if self._parts is None:
            from transformers import AutoTokenizer

            dtype = torch.bfloat16 if self.device == "cuda" else torch.float32
            tokenizer = AutoTokenizer.from_pretrained(self.path, trust_remote_code=False)
            self._parts = tokenizer, load_hf(self.path, dtype=dtype).to(self.device).eval()
        return self._parts
