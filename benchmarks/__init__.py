"""What the engine costs, measured side by side in one run; and studies of the statistics."""
