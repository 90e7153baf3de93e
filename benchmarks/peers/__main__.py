"""`python -m benchmarks.peers`."""

import sys

from benchmarks.peers.command_line import main

sys.exit(main())
