"""Made-up texts whose facts nobody knows beforehand: pure functions of a seed, in two splits that share no name."""
