"""`python -m benchmarks.gpu`."""

import sys

from benchmarks.gpu.command_line import main

sys.exit(main())
