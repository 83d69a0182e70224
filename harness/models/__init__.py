"""Models: what can be known without weights, loading, greedy generation, and token log-probabilities."""
