"""Multi-document question answering of Lost in the Middle: scores of predictions, as its authors compute them."""
