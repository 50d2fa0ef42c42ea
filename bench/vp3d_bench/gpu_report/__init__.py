"""`make gpu`: everything about a GPU with one command, and one file to send.

Runs under any Python from 3.10 on with its standard library alone, and starts everything else in a
virtual environment of its own. Parts follow each other; one that fails is recorded, and the next
one runs.
"""
