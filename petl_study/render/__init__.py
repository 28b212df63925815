"""Drawing that is the same bit for bit on every machine: what the pre-training source and the rendered tasks share."""
