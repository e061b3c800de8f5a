"""``python -m harness``, and the console script ``winnow``."""

from harness.cli import main

if __name__ == "__main__":
    main()
