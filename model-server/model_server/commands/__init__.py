"""Commands of `model-server` that stand beside serving: their flags, and the words they end with.

What computes is imported when a command runs, so that all others start without it.
"""
