"""Published figures, other data: for orientation beside ours, never a target that ours can be held to.

Shin, Lu, Kim, Seff, Yao, Summers: Interleaved Text/Image Deep Mining on a Large-Scale Radiology Database,
CVPR 2015 (216k key images, 61,845 patients). Mabotuwana et al. 2013 for references, NegBio / ChestX-ray8 for
assertions on Open-i.
"""

from __future__ import annotations

from typing import Any

SOURCE = "Shin et al., CVPR 2015: 215,786 key images of 61,845 patients of one hospital"

#: Top-1 and top-5 by level and network (Shin et al. 2015).
CLASSIFICATION: dict[str, dict[str, Any]] = {
    "document": {"classes": 60, "alexnet": (0.61, 0.93), "vgg16": (0.66, 0.93), "vgg19": (0.66, 0.95)},
    "second": {"classes": 385, "alexnet": (0.33, 0.56), "vgg16": (0.54, 0.70), "vgg19": (0.54, 0.70)},
    "sentence": {"classes": 717, "alexnet": (0.48, 0.56), "vgg16": (0.50, 0.56), "vgg19": (0.50, 0.58)},
}

#: Recall-at-1 of disease words of the report text; its denominator is not stated.
KEYWORD_RECALL = 0.56

#: Series/image references in reports: 314 of them (Mabotuwana et al. 2013).
REFERENCES = {"precision": 0.9935, "recall": 0.9808, "f": 0.9871, "n": 314}

#: Disease mentions with assertion on Open-i: precision, recall, F.
ASSERTIONS = {"MetaMap + NegEx": (0.84, 0.88, 0.86), "ChestX-ray8": (0.90, 0.91, 0.90)}

#: F on Open-i of bare keyword matching and of a simple cue rule.
ASSERTION_FLOORS = {"keywords alone": 0.24, "simple cue rule": 0.82}

#: Corpus of the original: mean, standard deviation and maximum where stated.
CORPUS: dict[str, tuple[float, float | None, int | None]] = {
    "words_per_report": (131.13, 95.72, 1502),
    "words_per_sentence": (11.7, None, None),
    "words_per_window": (23.22, None, None),
    "disease_words_per_window": (5.17, None, None),
}

#: Held-out perplexity of the document level by number of topics.
PERPLEXITY = {10: 1004.0, 80: 906.0, 100: 940.0}


def published_figures() -> dict[str, Any]:
    """Return all of them in one JSON-able dict, with where they come from."""
    return {
        "source": SOURCE,
        "classification": {
            level: {key: list(value) if isinstance(value, tuple) else value for key, value in row.items()}
            for level, row in CLASSIFICATION.items()
        },
        "keyword_recall_at_1": KEYWORD_RECALL,
        "references": dict(REFERENCES),
        "assertions": {name: list(value) for name, value in ASSERTIONS.items()},
        "assertion_floors": dict(ASSERTION_FLOORS),
        "corpus": {name: list(value) for name, value in CORPUS.items()},
        "perplexity": {str(k): value for k, value in PERPLEXITY.items()},
    }
