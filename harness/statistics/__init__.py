"""What is chance and what is not: intervals, differences, ranks, from the per-item results of runs.

``items`` reads them, ``design`` pairs them, ``bootstrap`` draws, ``compare`` and ``ranks`` say what
the draws mean, ``columns`` puts it into the leaderboard, ``coverage`` checks it by simulation.
"""
