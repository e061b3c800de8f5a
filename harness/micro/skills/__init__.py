"""What can be known or done in the made-up world, one file for each benchmark.

Every file here offers the same three functions:

- `benchmark(seed)` returns the benchmark's files as {path below `benchmarks/`: text};
- `pool_rows(seed, count)` returns conversations worded like the benchmark's prompts, none of
  which repeats a query or a test item;
- `plain_text(rng)` returns one document of plain text that holds the skill in raw form, with no
  conversation and not in the wording of the prompts, for pre-training.
"""
