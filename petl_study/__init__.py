"""Train every parameter-efficient fine-tuning method fairly, keep what each model said, compare with uncertainty."""

__version__ = "0.1.0"
