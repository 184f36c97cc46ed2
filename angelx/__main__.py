"""`python -m angelx` is the same program as `angelx`."""

from angelx.cli.main import main

main()
