"""`python -m interlock` is the command `interlock`."""

import sys

from interlock import cli

if __name__ == "__main__":
    sys.exit(cli.main())
