"""The look of the HTML report: style sheet and shapes. No network, no scripts."""

from __future__ import annotations

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #fdfdfb; --ink: #1d1f21; --soft: #5d6268; --line: #e3e2dd; --wash: #f5f4f0;
  --good: #1b7a48; --bad: #b3261e; --warn: #8a5a00; --info: #2f5d9b; --mask: #6a4c9c;
  --bad-wash: #fbeeec; --warn-wash: #faf3e3; --info-wash: #eef3fa;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #17181a; --ink: #e7e6e2; --soft: #a0a4a8; --line: #303236; --wash: #1f2123;
    --good: #6cc893; --bad: #ff9389; --warn: #e3b45c; --info: #92b9ee; --mask: #bfa5ec;
    --bad-wash: #2f1f1e; --warn-wash: #2b2519; --info-wash: #1c2431;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
body {
  margin: 0 auto; padding: 3rem 1.5rem 5rem; max-width: 72rem;
  background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  overflow-wrap: anywhere;
}
h1, h2, h3 { line-height: 1.2; font-weight: 600; letter-spacing: -0.012em; margin: 0; }
h1 { font-size: 2rem; text-wrap: balance; }
h2 { font-size: 1.3rem; margin: 3.25rem 0 1rem; }
h3 { font-size: 1rem; }
p { margin: 0.5rem 0; max-width: 46rem; }
a { color: var(--info); text-decoration-thickness: 1px; text-underline-offset: 0.18em; }
:target { scroll-margin-top: 1rem; outline: 2px solid var(--info); outline-offset: 3px; }
code, pre, .name {
  font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
}
code { font-size: 0.875em; unicode-bidi: isolate; }
.eyebrow { color: var(--soft); font-size: 0.85rem; margin: 0 0 0.5rem; }
.verdict { font-size: 1.15rem; margin-top: 0.9rem; display: flex; gap: 0.6rem; max-width: 52rem; }
.verdict svg { flex: none; margin-top: 0.32em; }
.bad { color: var(--bad); } .good { color: var(--good); }
.cause { color: var(--soft); margin-left: 1.9rem; }
dl.facts {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(16rem, 1fr)); gap: 1rem 2rem;
  margin: 2rem 0 0; padding: 1.25rem 0 0; border-top: 1px solid var(--line);
}
dl.facts dt { color: var(--soft); font-size: 0.8rem; }
dl.facts dd { margin: 0; unicode-bidi: isolate; font-variant-numeric: tabular-nums; }
.finding {
  border-left: 3px solid var(--line); padding: 0.15rem 0 0.15rem 1.1rem; margin: 0 0 1.75rem;
}
.finding.error { border-color: var(--bad); } .finding.warning { border-color: var(--warn); }
.finding.info { border-color: var(--info); }
.finding h3 { display: flex; flex-wrap: wrap; gap: 0.2rem 0.7rem; align-items: baseline; }
.finding .tag { font-size: 0.8rem; font-weight: 600; white-space: nowrap; }
.finding .tag a { color: inherit; text-decoration: none; }
.finding .tag a:hover { text-decoration: underline; }
.error .tag { color: var(--bad); }
.warning .tag { color: var(--warn); }
.info .tag { color: var(--info); }
.finding .title { font-weight: 600; flex: 1 1 24rem; }
.finding dl {
  display: grid; grid-template-columns: 5.5rem 1fr; gap: 0.35rem 1rem; margin: 0.7rem 0 0;
  font-size: 0.925rem;
}
.finding dt { color: var(--soft); } .finding dd { margin: 0; max-width: 46rem; }
.finding ul { margin: 0; padding: 0; list-style: none; }
.legend {
  display: flex; flex-wrap: wrap; gap: 0.35rem 1.4rem; padding: 0; margin: 0 0 1.75rem;
  list-style: none; font-size: 0.875rem;
}
.legend li { display: flex; align-items: baseline; gap: 0.45rem; }
.legend svg { align-self: center; } .legend .count { font-variant-numeric: tabular-nums; }
.legend .zero { display: none; } .legend small { color: var(--soft); font-size: inherit; }
.map {
  background: var(--wash); padding: 1.1rem 1.25rem; margin: 0 0 2.25rem; display: grid; gap:
  0.5rem; font-size: 0.85rem;
}
.map > div { display: grid; grid-template-columns: 12rem 1fr; gap: 1rem; align-items: start; }
.map > div > span:first-child { color: var(--soft); }
.map > div > span:last-child { display: flex; flex-wrap: wrap; gap: 0.3rem 0.5rem; }
.map a { display: flex; padding: 0.22rem 0; color: var(--ink); }
.map a.usable { color: var(--good); }
.map a.absent { color: var(--soft); }
.map a.hidden { color: var(--mask); }
.map a.withheld, .map a.broken, .map a.uneven { color: var(--bad); }
.map a.gated, .map a.unverified { color: var(--warn); }
.columns { padding-left: 1.6rem; margin: 1.25rem 0 1.5rem; font-size: 0.925rem; }
.families { columns: 2 27rem; column-gap: 3rem; }
.families.wide { columns: auto; }
.family { break-inside: avoid; margin: 0 0 2rem; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 0.85rem; line-height: 1.3; }
caption { text-align: left; font-weight: 600; font-size: 0.925rem; padding: 0 0 0.4rem; }
caption small { color: var(--soft); font-weight: 400; font-size: 0.8rem; }
th, td {
  text-align: left; font-weight: 400; padding: 0.2rem 0.5rem 0.2rem 0; vertical-align: middle;
  white-space: nowrap;
}
thead th {
  color: var(--soft); font-size: 0.75rem; padding-bottom: 0.3rem; border-bottom: 1px solid
  var(--line);
}
tbody tr + tr > * { border-top: 1px solid var(--line); }
td.said { color: var(--soft); width: 2.9rem; font-size: 0.8rem; }
th.name { font-size: 0.8rem; width: 9.5rem; }
td.state { width: 7.4rem; }
.many td.state { width: auto; }
td.state svg { vertical-align: -0.16em; margin-right: 0.45rem; }
td.loud .word { font-weight: 600; }
tr.loud > * { background: var(--bad-wash); } tr.mild > * { background: var(--warn-wash); }
.many tr > * { background: none; }
.many td.loud { background: var(--bad-wash); } .many td.mild { background: var(--warn-wash); }
.many table { table-layout: fixed; } .many th, .many td { padding-left: 0.4rem; }
.many th.name, .many thead th:first-child { padding-left: 0; width: 9.5rem; }
.many thead th { overflow: hidden; text-overflow: ellipsis; }
tr.loud th.name, tr.mild th.name { box-shadow: inset 3px 0 var(--bad); padding-left: 0.6rem; }
tr.mild th.name { box-shadow: inset 3px 0 var(--warn); }
.many tr th.name { box-shadow: none; padding-left: 0; }
tr.quiet.absent th.name, .absent .word { color: var(--soft); }
.state a { color: inherit; }
.usable svg { color: var(--good); } .absent svg, .unknown svg { color: var(--soft); }
.withheld, .broken, .uneven { color: var(--bad); }
.gated { color: var(--warn); }
.unverified svg { color: var(--warn); }
.hidden { color: var(--mask); }
tr.withheld, tr.broken, tr.uneven, tr.gated, tr.hidden { color: var(--ink); }
.flags { display: grid; grid-template-columns: auto 1fr; gap: 0.6rem 1.25rem; margin: 0; }
.flags dt { font-weight: 600; } .flags dd { margin: 0; }
.flags ul {
  display: flex; flex-wrap: wrap; gap: 0.3rem 1.1rem; margin: 0; padding: 0; list-style: none;
}
.flags .off ul { flex-direction: column; } .flags small { color: var(--soft); font-size: 0.85rem; }
details { border-top: 1px solid var(--line); padding-top: 1rem; }
summary { cursor: pointer; font-weight: 600; }
pre {
  background: var(--wash); padding: 1rem; font-size: 0.75rem; line-height: 1.45; max-height:
  22rem; overflow: auto; white-space: pre-wrap; user-select: all; unicode-bidi: isolate;
}
.machine { border-top: 1px solid var(--line); margin-top: 3rem; }
.machine > h2 { margin-top: 2rem; }
footer { color: var(--soft); font-size: 0.85rem; margin-top: 4rem; }
.aloud {
  position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%);
  white-space: nowrap;
}
@media (max-width: 40rem) {
  body { padding: 1.75rem 1rem 3rem; }
  h1 { font-size: 1.5rem; } h2 { margin-top: 2.5rem; }
  .finding dl { grid-template-columns: 1fr; gap: 0.1rem; } .finding dd { margin-bottom: 0.5rem; }
  .finding .title { flex-basis: 100%; }
  dl.facts { grid-template-columns: 1fr 1fr; gap: 0.8rem 1.25rem; font-size: 0.925rem; }
  .map { padding: 0.9rem 1rem; } .map > div { grid-template-columns: 1fr; gap: 0.1rem; }
  .families { columns: auto; }
  th.name { width: auto; } td.said { width: auto; padding-right: 0.35rem; }
  td.state { width: auto; }
  .many th.name, .many thead th:first-child { width: 8rem; }
  .many th, .many td { padding-right: 0; }
  .crowded td.state { position: relative; }
  .crowded .word {
    position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%);
  }
}
@media print { body { max-width: none; padding: 0; } details { display: none; } }
"""

# One shape a state, told apart without colour: disc, dash, barred square, cross, dashed ring,
# triangle, split square, ring with a point, point.
SHAPES = {
    "usable": '<circle cx="8" cy="8" r="6" fill="currentColor"/>',
    "absent": '<path d="M4 8h8" stroke="currentColor" stroke-width="1.6" stroke-linecap="round"/>',
    "withheld": '<rect x="2" y="2" width="12" height="12" rx="1.5" fill="currentColor"/>'
    '<path d="M4.5 8h7" stroke="var(--paper)" stroke-width="2.2"/>',
    "broken": '<path d="M3 3l10 10M13 3L3 13" stroke="currentColor" stroke-width="3" '
    'stroke-linecap="round"/>',
    "hidden": '<circle cx="8" cy="8" r="5.6" fill="none" stroke="currentColor" stroke-width="1.8" '
    'stroke-dasharray="2.4 2"/>',
    "gated": '<path d="M8 2l6.5 12h-13z" fill="none" stroke="currentColor" stroke-width="1.8" '
    'stroke-linejoin="round"/>',
    "uneven": '<rect x="2.6" y="2.6" width="10.8" height="10.8" fill="none" stroke="currentColor" '
    'stroke-width="1.6"/><path d="M2.6 13.4L13.4 2.6v10.8z" fill="currentColor"/>',
    "unverified": '<circle cx="8" cy="8" r="5.6" fill="none" stroke="currentColor" '
    'stroke-width="1.6"/><circle cx="8" cy="8" r="1.7" fill="currentColor"/>',
    "unknown": '<circle cx="8" cy="8" r="1.7" fill="currentColor"/>',
}
