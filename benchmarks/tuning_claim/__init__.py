"""The claim of entropy-aware ABF in miniature: methods tuned with few samples, measured beyond the window."""
