"""Entry point of `python -m ffbench`."""

import sys

if __name__ == "__main__":
    try:
        from ffbench.cli.main import main

        code = main()
    except KeyboardInterrupt:  # before the command's own net is in place
        print("stopped", file=sys.stderr)
        code = 130
    sys.exit(code)
