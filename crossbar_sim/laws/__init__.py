"""The laws of imprecise resistors: what is proved or conjectured of subset sums, and what is found.

Each law is one module with one `Law`; `law` names them all and loads one when it is asked for.
"""
