"""Many machines at once: which features a fleet has, and what choosing a set of them costs.

`sources` finds captures, `reading` turns them into facts, `tally` counts those, or `queries` has a
database count tables; `selection` picks sets, `summary` makes of it the `model` that comes out.
"""
