"""Select the frames that a segment displays, and decode them."""
