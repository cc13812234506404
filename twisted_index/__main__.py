"""`python -m twisted_index`: the same as the console command `twisted-index`."""

import sys

from twisted_index.commands import main

if __name__ == "__main__":
    sys.exit(main())
