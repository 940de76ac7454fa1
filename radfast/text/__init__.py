"""Reports as tokens, sentences and image references."""

from __future__ import annotations

from radfast.text.corpus import Corpus
from radfast.text.linking import link_images, windows
from radfast.text.references import ImageReference, find_image_references
from radfast.text.sentences import SentenceRules, split_sentences, split_sentences_batch
from radfast.text.tokenizer import Tokenizer

__all__ = [
    "Corpus",
    "ImageReference",
    "SentenceRules",
    "Tokenizer",
    "find_image_references",
    "link_images",
    "split_sentences",
    "split_sentences_batch",
    "windows",
]
