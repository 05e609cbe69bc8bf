"""`python -m medassets` is the `medassets` command."""

from medassets.cli.main import main

if __name__ == "__main__":
    main()
