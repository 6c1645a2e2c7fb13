"""``python -m picsift``: the command."""

from ._process import main

main()
