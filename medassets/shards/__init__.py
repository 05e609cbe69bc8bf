"""Shards of any kind of sample: catalog and plan, tar, ledger, record, manifest."""
