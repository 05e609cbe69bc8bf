"""One dynamic partitions definition per dataset; how many keys one run may take."""

import dagster as dg

from medassets.specs import DatasetSpec


def shard_partitions(spec: DatasetSpec) -> dg.DynamicPartitionsDefinition:
    """Return the definition whose keys, `<split>-<six digits>`, the catalog fills."""
    return dg.DynamicPartitionsDefinition(name=spec.partitions_name)


def backfill_policy(spec: DatasetSpec) -> dg.BackfillPolicy:
    """Return the policy behind the declaration's `runs`."""
    if spec.max_partitions_per_run is None:
        return dg.BackfillPolicy.single_run()
    return dg.BackfillPolicy.multi_run(spec.max_partitions_per_run)
