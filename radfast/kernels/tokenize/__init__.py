"""Text in UTF-8 to sentences and token ids.

Sentences: half-open byte spans, ascending, disjoint, without white space (Python's ``str.isspace``) at their
ends; together they cover every byte that is not white space. A text of white space has none.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from radfast import _core
from radfast.kernels.tokenize.rules import DEFAULT_RULES, SentenceRules

__all__ = ["DEFAULT_RULES", "SentenceRules", "split_sentences"]


@lru_cache(maxsize=16)
def _compile_rules(rules: SentenceRules) -> _core.SentenceRules:
    return _core.SentenceRules(rules.tables(), rules.min_wrap)


def split_sentences(text: bytes, rules: SentenceRules = DEFAULT_RULES) -> npt.NDArray[np.int64]:
    """Find the sentences of a UTF-8 text.

    Parameters
    ----------
    text : bytes
        UTF-8; invalid bytes count as characters of no class.
    rules : SentenceRules
        Word tables.

    Returns
    -------
    spans : int64 (S, 2)
        Byte offsets.
    """
    spans: npt.NDArray[np.int64] = _core.split_sentences(text, _compile_rules(rules))
    return spans
