"""The catalog: one row per source item, and the plan that gives each sample its shard."""
