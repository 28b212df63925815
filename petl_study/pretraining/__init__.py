"""Where the embedded backbone comes from: images rendered on the fly, and the training on them.

`source` draws, `train` fits, `digits` says what the result knows about real handwriting, `cli` is
``petl-study pretrain``. Nothing here is imported when the shipped weights are used.
"""
