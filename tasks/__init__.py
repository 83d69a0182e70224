"""What is measured: tasks that yield samples and score outputs. No torch, no sibling package."""
