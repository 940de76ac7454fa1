"""Word vectors, disease bi-grams and the keyword index."""

from radfast.vectors.bigrams import bigram_targets, disease_words, find_bigrams, find_isolated
from radfast.vectors.keywords import KeywordIndex
from radfast.vectors.words import WordVectors, train_word_vectors

__all__ = [
    "KeywordIndex",
    "WordVectors",
    "bigram_targets",
    "disease_words",
    "find_bigrams",
    "find_isolated",
    "train_word_vectors",
]
