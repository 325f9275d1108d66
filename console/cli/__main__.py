"""`python -m ucop.console.cli` is `ucop`."""

from .main import main

main()
