"""`python -m bulkhooks`."""

from .cli import main

main()
