"""Disease words and the bi-grams that an image is trained on."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from radfast.errors import UsageError
from radfast.vectors.words import WordVectors

_FUNCTION_WORDS = """
an and are as at but by due for from has in into is its no nor not of off on or out per than that the their
this through to via was when which while with within without
"""
_CLASSIFYING_WORDS = """
ambiguous class classified condition disease diseases disorder disorders elsewhere form group involving nos
obsolete other others specified stage state syndrome syndromes type types unspecified variant
"""
#: Words of ontology names that name no disease by themselves.
STOP_WORDS = frozenset(_FUNCTION_WORDS.split()) | frozenset(_CLASSIFYING_WORDS.split())
_TRIM = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"


def disease_words(names: Iterable[str], min_length: int = 3) -> frozenset[str]:
    """Return the words of disease names.

    A word is what stands between blanks, trimmed of punctuation at both ends, in lower case, with at least
    `min_length` characters and one letter. `STOP_WORDS` are left out: function words, and words such as
    "disease", "syndrome" and "type" that classify without naming a disease.

    Parameters
    ----------
    names : iterable of str
        Names and synonyms of an ontology.
    min_length : int
        Least number of characters; that of the tokenizer.

    Returns
    -------
    frozenset of str
        Words in lower case; sort them wherever an order matters.
    """
    found = set()
    for name in names:
        for piece in name.lower().split():
            word = piece.strip(_TRIM)
            if len(word) >= min_length and word not in STOP_WORDS and any(c.isalpha() for c in word):
                found.add(word)
    return frozenset(found)


def find_bigrams(words: Sequence[str], disease: Collection[str]) -> list[tuple[str, str]]:
    """Return the distinct pairs of adjacent disease words, in order of first appearance.

    "retroperitoneal mesenteric lymph nodes" gives (retroperitoneal, mesenteric), (mesenteric, lymph) and
    (lymph, nodes); a disease word with no other beside it gives nothing, nor does a word beside itself.

    Parameters
    ----------
    words : sequence of str
        Words of a window in reading order.
    disease : set of str
        Disease words; pass only those that have a vector when targets are wanted.

    References
    ----------
    Shin et al., Interleaved text/image deep mining on a very large-scale radiology database, CVPR 2015.
    """
    pairs = pairwise(words)
    return list(dict.fromkeys((a, b) for a, b in pairs if a != b and a in disease and b in disease))


def find_isolated(words: Sequence[str], disease: Collection[str]) -> list[tuple[str, str]]:
    """Return each disease word that is in no bi-gram, paired with itself, in order of first appearance.

    The paper ignores these words, and with them every image whose window holds no two disease words side by
    side: "small pneumothorax" teaches nothing. As a pair with itself such a word is a target like any other.

    Parameters
    ----------
    words, disease
        As in `find_bigrams`.
    """
    used = {word for pair in find_bigrams(words, disease) for word in pair}
    return [(word, word) for word in dict.fromkeys(words) if word in disease and word not in used]


def bigram_targets(bigrams: Sequence[tuple[str, str]], vectors: WordVectors) -> npt.NDArray[np.float32]:
    """Return the training target of each bi-gram: the unit vectors of its two words side by side.

    Parameters
    ----------
    bigrams : sequence of (str, str)
        Pairs of words that have vectors.
    vectors : WordVectors
        Vectors of F features.

    Returns
    -------
    float32 (n, 2F)
        Each half has length 1 (0 for a word whose vector is zero).

    Raises
    ------
    UsageError
        If a word has no vector.
    """
    for place, pair in enumerate(bigrams):
        if pair[0] not in vectors or pair[1] not in vectors:
            raise UsageError(f"[bigram_targets] words must have vectors, one of bi-gram {place} has none")
    rows = np.array([[vectors.row(a), vectors.row(b)] for a, b in bigrams], dtype=np.int64).reshape(-1, 2)
    halves = vectors.vectors[rows].astype(np.float64)
    norms = np.linalg.norm(halves, axis=2, keepdims=True)
    halves /= np.where(norms == 0, 1.0, norms)
    return halves.reshape(len(rows), 2 * vectors.vectors.shape[1]).astype(np.float32)
