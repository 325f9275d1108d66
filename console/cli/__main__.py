"""`python -m ucop.console.cli` is `ucop`."""

from ucop.console.cli.main import main

main()
