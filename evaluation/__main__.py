"""``python -m evaluation check``: see ``evaluation/check``."""

import sys

from evaluation.check.command import main

if __name__ == "__main__":
    sys.exit(main())
