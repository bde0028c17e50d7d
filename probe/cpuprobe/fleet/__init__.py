"""Many machines at once: which features a fleet has, and what choosing a set of them costs.

`sources` finds captures, `ingest` turns them into Parquet, `queries` asks Ibis, `selection` picks
sets, `model` is what comes out; the pages are made in `report.fleet_text` and `report.fleet_html`.
"""
