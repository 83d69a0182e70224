"""lm-eval's tasks as tasks of this package, and the other way round; lm-eval is imported when one is asked for."""
