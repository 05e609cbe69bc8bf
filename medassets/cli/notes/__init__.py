"""Lines that several commands print: the account, the source, a Hub that moved, automation."""
