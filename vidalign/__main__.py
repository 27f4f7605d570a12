"""`python -m vidalign` is the `vidalign` command."""

import sys

from vidalign.cli import main

sys.exit(main())
