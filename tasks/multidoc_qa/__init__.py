"""Multi-document question answering of Lost in the Middle: the task, and scores of others' predictions."""
