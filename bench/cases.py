"""Every case, once: kernels alone, at sizes that a laptop times in seconds; inputs are made from seeds."""

from __future__ import annotations

from bench import cases_cnn, cases_cosine, cases_gibbs, cases_prepare, cases_tokenize, cases_topics

CASES = (
    *cases_tokenize.CASES,
    *cases_gibbs.CASES,
    *cases_cosine.CASES,
    *cases_cnn.CASES,
    *cases_prepare.CASES,
    *cases_topics.CASES,
)
