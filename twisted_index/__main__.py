"""`python -m twisted_index`: the console command `twisted-index`."""

import sys

from twisted_index.cli import main

if __name__ == "__main__":
    sys.exit(main())
