"""The medassets command."""
