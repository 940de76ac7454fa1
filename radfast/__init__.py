"""radfast labels a radiology archive from its own reports.

Every public name is imported on first use, so that ``import radfast`` loads no heavy package.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from radfast.version import __version__

if TYPE_CHECKING:
    from radfast import vision as vision
    from radfast.findings import Finding as Finding
    from radfast.findings import Ontology as Ontology
    from radfast.findings import find_findings as find_findings
    from radfast.kernels.cnn import compile as compile
    from radfast.kernels.cosine import cosine_topk as cosine_topk
    from radfast.pipeline import label_archive as label_archive
    from radfast.text import Corpus as Corpus
    from radfast.text import ImageReference as ImageReference
    from radfast.text import Tokenizer as Tokenizer
    from radfast.text import find_image_references as find_image_references
    from radfast.text import split_sentences as split_sentences
    from radfast.topics import LDA as LDA
    from radfast.topics import TopicHierarchy as TopicHierarchy
    from radfast.topics import select_n_topics as select_n_topics
    from radfast.vectors import KeywordIndex as KeywordIndex

_HOMES = {
    "Tokenizer": "radfast.text",
    "Corpus": "radfast.text",
    "split_sentences": "radfast.text",
    "find_image_references": "radfast.text",
    "ImageReference": "radfast.text",
    "LDA": "radfast.topics",
    "TopicHierarchy": "radfast.topics",
    "select_n_topics": "radfast.topics",
    "cosine_topk": "radfast.kernels.cosine",
    "KeywordIndex": "radfast.vectors",
    "find_findings": "radfast.findings",
    "Finding": "radfast.findings",
    "Ontology": "radfast.findings",
    "compile": "radfast.kernels.cnn",
    "label_archive": "radfast.pipeline",
}

__all__ = ["__version__", "vision", *_HOMES]


def __getattr__(name: str) -> Any:
    if name == "vision":
        return import_module("radfast.vision")
    if name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'radfast' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
