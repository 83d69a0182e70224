"""LongBench v1 and LongBench-E: datasets, metrics, and scores of predictions, as their authors compute them."""
