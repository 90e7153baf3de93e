"""Entry point of `python -m ffbench`."""

import sys

from ffbench.cli.main import main

sys.exit(main())
