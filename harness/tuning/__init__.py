"""Tuning models under extension methods: what `longbench-run tune` does."""
