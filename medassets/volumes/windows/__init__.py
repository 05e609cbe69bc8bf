"""Windows of CT volumes as masks of bits."""
