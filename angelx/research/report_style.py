"""How the report looks: one style sheet, light and dark, from phone to desk."""

from typing import Final

STYLE: Final = """
:root {
  color-scheme: light dark;
  --page: #f6f7f9; --card: #ffffff; --ink: #1b2330; --soft: #667085; --line: #e4e7ec; --accent: #2f6fde;
  --good: #0e8f6e; --bad: #d1455b; --warn: #b7791f; --good-soft: #e3f5ef; --bad-soft: #fbe8eb; --warn-soft: #fbf2df;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #0f141b; --card: #171e28; --ink: #e6eaf0; --soft: #93a0b4; --line: #28313e; --accent: #6ea3ff;
    --good: #35c79d; --bad: #ff7a8c; --warn: #e2b04a; --good-soft: #12332b; --bad-soft: #3b1d24; --warn-soft: #3a2f16;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 28px 20px 60px; }
header h1 { margin: 0; font-size: 26px; letter-spacing: -.01em; overflow-wrap: anywhere; }
header p { margin: 4px 0 0; color: var(--soft); }
section { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 18px 20px;
  margin-top: 18px; min-width: 0; }
h2 { margin: 0 0 4px; font-size: 17px; }
section > p, .note { margin: 0 0 8px; color: var(--soft); font-size: 13px; }
.cards { display: grid; grid-template-columns: minmax(0, 1.75fr) repeat(4, minmax(0, 1fr)); gap: 12px;
  margin-top: 20px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 14px 16px; min-width: 0; }
.card .name { color: var(--soft); font-size: 12.5px; }
.card .value { font-size: 22px; font-weight: 640; letter-spacing: -.01em; font-variant-numeric: tabular-nums;
  overflow-wrap: anywhere; }
.card.long .value { font-size: 17px; line-height: 33px; }
.card .more { color: var(--soft); font-size: 12.5px; font-variant-numeric: tabular-nums; }
.card.wide { grid-row: span 2; display: flex; flex-direction: column; justify-content: center; padding: 16px 20px; }
.card.wide .value { font-size: 34px; line-height: 1.3; }
.card.wide.long .value { font-size: 26px; line-height: 1.5; }
.good { color: var(--good); } .bad { color: var(--bad); } .warn { color: var(--warn); } .soft { color: var(--soft); }
.two { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 18px; }
.two > section { margin-top: 18px; } .two + .two, .two { margin-top: 0; }
.chart { width: 100%; min-height: 60px; }
.funnel { display: grid; gap: 8px; margin-top: 10px; }
.funnel div { display: grid; grid-template-columns: 92px 1fr; align-items: center; gap: 10px; font-size: 13.5px; }
.funnel .bar { display: flex; align-items: center; gap: 8px; min-width: 0; }
.funnel .bar i { display: block; height: 20px; border-radius: 5px; background: var(--accent); min-width: 2px; }
.funnel .bar b { font-variant-numeric: tabular-nums; font-weight: 600; white-space: nowrap; }
.scroll { overflow: auto; max-height: 420px; margin-top: 8px; border: 1px solid var(--line); border-radius: 8px; }
table { border-collapse: collapse; width: 100%; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { padding: 6px 10px; text-align: left; white-space: nowrap; }
th { position: sticky; top: 0; background: var(--card); color: var(--soft); font-weight: 560;
  box-shadow: inset 0 -1px var(--line); cursor: pointer; user-select: none; z-index: 1; }
th[data-order="1"]::after { content: " \\2191"; } th[data-order="-1"]::after { content: " \\2193"; }
td { border-top: 1px solid var(--line); } tbody tr:first-child td { border-top: 0; }
tbody tr:hover td { background: color-mix(in srgb, var(--accent) 7%, transparent); }
td.n, th.n { text-align: right; } td.wrap { white-space: normal; min-width: 220px; overflow-wrap: anywhere; }
.pill { display: inline-block; padding: 1px 8px; border-radius: 99px; font-size: 12px; font-weight: 560; }
.pill.good { background: var(--good-soft); } .pill.bad { background: var(--bad-soft); }
.pill.warn { background: var(--warn-soft); } .pill.soft { background: var(--line); }
.empty { color: var(--soft); padding: 26px 0; text-align: center; }
ul.checks { list-style: none; margin: 8px 0 0; padding: 0; display: grid; gap: 6px;
  grid-template-columns: repeat(auto-fit, minmax(320px, 1fr)); }
ul.checks li { display: grid; grid-template-columns: 22px 1fr; font-size: 13.5px; overflow-wrap: anywhere; }
ul.checks small { display: block; color: var(--soft); }
select { font: inherit; font-size: 14px; color: var(--ink); background: var(--page); border: 1px solid var(--line);
  border-radius: 8px; padding: 5px 8px; max-width: 100%; }
dl.facts { display: grid; grid-template-columns: max-content 1fr; gap: 3px 16px; margin: 8px 0 0; font-size: 13.5px; }
dl.facts dt { color: var(--soft); } dl.facts dd { margin: 0; overflow-wrap: anywhere; }
footer { margin-top: 22px; color: var(--soft); font-size: 12.5px; }
@media (max-width: 1020px) {
  .cards { grid-template-columns: repeat(4, minmax(0, 1fr)); } .card.wide { grid-row: auto; grid-column: span 4; }
}
@media (max-width: 760px) {
  main { padding: 16px 12px 40px; } section { padding: 14px; } .two { grid-template-columns: minmax(0, 1fr); }
  .two > section + section { margin-top: 0; }
  header h1 { font-size: 21px; } .cards { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 10px; }
  .card { padding: 11px 12px; } .card .value { font-size: 18px; }
  .card.long .value { font-size: 15px; line-height: 27px; } .card.wide.long .value { font-size: 24px; }
  .card.wide { grid-row: auto; grid-column: span 2; } .card.wide .value { font-size: 28px; }
  ul.checks { grid-template-columns: minmax(0, 1fr); } dl.facts { grid-template-columns: minmax(0, 1fr); gap: 0; }
  dl.facts dd { margin-bottom: 6px; }
}
@media print { .scroll { max-height: none; overflow: visible; } section { break-inside: avoid; } }
"""
