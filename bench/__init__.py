"""Speed, measured as ratios to baselines that are taken in the same run.

`python -m bench [names] [--quick] [--json FILE]`. Baseline and product take turns, round by round, so that whatever else
the machine does slows both; a ratio is the median over the rounds. This measures and never fails: `targets` says what each
ratio should be, and the table says which ones are not there.
"""
