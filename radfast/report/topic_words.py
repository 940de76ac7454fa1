"""Words and sizes of topics, looked up by level and class name."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from radfast.types import LEVELS

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
    """

    words: dict[str, dict[str, list[tuple[str, float]]]]
    units: dict[str, dict[str, int]]

    def name(self, level: str, topic: str, n: int = 4) -> str:
        """Return the first `n` words of a topic; a disease class is its own name."""
        if level == "disease":
            return topic
        return ", ".join(word for word, _ in self.words.get(level, {}).get(topic, [])[:n])


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
    return TopicWords(words, units)
