"""Reports as tokens, sentences and image references."""

from __future__ import annotations

from radfast.text.sentences import SentenceRules, split_sentences, split_sentences_batch

__all__ = [
    "SentenceRules",
    "split_sentences",
    "split_sentences_batch",
]
