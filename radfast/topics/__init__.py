"""Topics of reports: LDA by collapsed Gibbs sampling, the choice of K, three levels, coherence."""

from radfast.topics.coherence import npmi_coherence
from radfast.topics.counts import Documents, read_documents
from radfast.topics.hierarchy import TopicHierarchy
from radfast.topics.lda import LDA
from radfast.topics.select import TopicCurve, select_n_topics
from radfast.topics.similarity import match_topics, seed_stability, topic_similarity

__all__ = [
    "LDA",
    "Documents",
    "TopicCurve",
    "TopicHierarchy",
    "match_topics",
    "npmi_coherence",
    "read_documents",
    "seed_stability",
    "select_n_topics",
    "topic_similarity",
]
