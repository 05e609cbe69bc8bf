"""Where raw files come from, and how they reach a local disk: checked, resumed, within a budget."""
