"""Metrics of every stage: pure functions over arrays and tables that return JSON-able dicts.

No value is NaN: what is undefined is None. Estimates are ``{value, low, high, n}`` with a 95 % interval by
patient. docs/evaluation.md defines every measure.
"""

from radfast.evaluate.classification import count_confusion as count_confusion
from radfast.evaluate.classification import score_classification as score_classification
from radfast.evaluate.corpus import class_counts as class_counts
from radfast.evaluate.corpus import corpus_statistics as corpus_statistics
from radfast.evaluate.corpus import describe_counts as describe_counts
from radfast.evaluate.findings import score_assertions as score_assertions
from radfast.evaluate.findings import score_disease_ranking as score_disease_ranking
from radfast.evaluate.findings import score_diseases as score_diseases
from radfast.evaluate.intervals import estimate_ratios as estimate_ratios
from radfast.evaluate.intervals import wilson_interval as wilson_interval
from radfast.evaluate.keywords import score_keywords as score_keywords
from radfast.evaluate.published import published_figures as published_figures
from radfast.evaluate.references import link_statistics as link_statistics
from radfast.evaluate.references import precision_recall_f as precision_recall_f
from radfast.evaluate.references import score_links as score_links
from radfast.evaluate.topics import score_topics as score_topics
from radfast.evaluate.topics import summarize_curve as summarize_curve
from radfast.evaluate.vectors import score_vectors as score_vectors

__all__ = [
    "class_counts",
    "corpus_statistics",
    "count_confusion",
    "describe_counts",
    "estimate_ratios",
    "link_statistics",
    "precision_recall_f",
    "published_figures",
    "score_assertions",
    "score_classification",
    "score_disease_ranking",
    "score_diseases",
    "score_keywords",
    "score_links",
    "score_topics",
    "score_vectors",
    "summarize_curve",
    "wilson_interval",
]
