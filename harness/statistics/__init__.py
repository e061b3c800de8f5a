"""What is chance and what is not: intervals, differences, ranks, from the per-item results of runs.

``items`` reads them, ``design`` pairs them, ``bootstrap`` draws, ``compare``, ``ranks`` and
``frontier`` say what the draws mean, ``contest`` finds what is held against what, ``columns`` puts
it into the leaderboard, ``coverage`` checks it by simulation.
"""
