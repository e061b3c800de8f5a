"""What ``python -m evaluation check`` proves of a suite's benchmarks, on the data themselves.

Of each benchmark: the queries and test items that are found, against the paper's counts; that right
answers score 100 and wrong ones 0 on the way that an evaluation takes (lm-eval, the benchmark's
task, its metric, sandbox and judge); that no query is a test item. Of AlpacaEval: that recorded
verdicts, replayed, give the published boards.

An ``error`` is what would make a score wrong or not comparable without anyone being told: data
missing or damaged, a count that nothing explains, right answers not at 100, a query among the items
that are asked, a board that differs. A ``gap`` is data that the folder lacks and that the score's
own notes or ``evaluation/README.md`` name: languages, a part of a training file, inputs of a board;
``strict`` makes it an error. A ``remark`` is what a reader of the figures must know, such as items
left out because they are queries.

``proving`` does it, ``answers`` has the right and wrong answers, ``asking`` sends them through
lm-eval, ``command`` and ``printing`` are the command line.
"""
