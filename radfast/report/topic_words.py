"""Words and sizes of topics, looked up by level and class name."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from math import log

import pyarrow as pa
import pyarrow.compute as pc

from radfast.types import LEVELS

#: 1 - lambda of the relevance.
_LIFT = 0.7

LEVEL_NAMES = {
    "document": "Document",
    "second": "Second level",
    "sentence": "Sentence",
    "disease": "Disease",
}


@dataclass(frozen=True)
class TopicWords:
    """Words of every topic, heaviest first, and the number of its units.

    Attributes
    ----------
    words : dict of level to dict of class name to list of (word, weight)
    units : dict of level to dict of class name to int
        Reports (document, second) or windows (sentence) whose topic it is.
    telling : dict of level to dict of class name to list of str
        The same words, those that set the topic apart first: by relevance 0.3 log p(w|k) + 0.7 log
        (p(w|k) / p(w)) (Sievert and Shirley 2014), p(w) being the share over the level's topics.
    """

    words: dict[str, dict[str, list[tuple[str, float]]]]
    units: dict[str, dict[str, int]]
    telling: dict[str, dict[str, list[str]]]

    def name(self, level: str, topic: str, n: int = 3) -> str:
        """Return the `n` most telling words of a topic; a disease class is its own name."""
        if level == "disease":
            return topic
        return ", ".join(self.telling.get(level, {}).get(topic, [])[:n])


def read_topic_words(topic_words: pa.Table, topics: pa.Table) -> TopicWords:
    """Collect the words and unit counts of all topics."""
    words: dict[str, dict[str, list[tuple[str, float]]]] = {level: {} for level in LEVELS}
    ordered = topic_words.sort_by([("level", "ascending"), ("topic", "ascending"), ("rank", "ascending")])
    for row in ordered.select(["level", "topic", "word", "weight"]).to_pylist():
        of_level = words.setdefault(row["level"], {})
        of_level.setdefault(str(row["topic"]), []).append((row["word"], row["weight"]))
    units: dict[str, dict[str, int]] = {level: {} for level in LEVELS}
    assigned = topics.filter(pc.greater_equal(topics["topic"], 0))
    for row in assigned.group_by(["level", "topic"]).aggregate([([], "count_all")]).to_pylist():
        units.setdefault(row["level"], {})[str(row["topic"])] = row["count_all"]
    telling = {level: _rank_by_relevance(found, units.get(level, {})) for level, found in words.items()}
    return TopicWords(words, units, telling)


def _rank_by_relevance(
    words: dict[str, list[tuple[str, float]]], units: dict[str, int]
) -> dict[str, list[str]]:
    share = {topic: units.get(topic, 0) + 1 for topic in words}
    whole = sum(share.values()) or 1
    overall: dict[str, float] = defaultdict(float)
    for topic, listed in words.items():
        for word, weight in listed:
            overall[word] += weight * share[topic] / whole
    return {
        topic: [
            word
            for word, _ in sorted(
                ((word, log(weight) - _LIFT * log(overall[word])) for word, weight in listed if weight > 0),
                key=lambda pair: (-pair[1], pair[0]),
            )
        ]
        for topic, listed in words.items()
    }
