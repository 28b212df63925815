"""Readers of what other people wrote: plain formats, bounds that are checked before memory is asked for, no code run.

Records, study files, lists and tables come with studies that were downloaded, merged or mailed. What is wrong with one
is an `InputError`; nothing in it can have a reader take more time or memory than its size explains.
"""
