//! Reading a table's rows, for people and for repairs.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use delta_kernel::engine::arrow_data::EngineDataArrowExt;
use delta_kernel::snapshot::SnapshotRef;
use delta_kernel::{Engine, KernelResult};

use crate::table::reading::count_texts;

/// How many rows have each value of a text column, nulls aside.
pub(super) fn count_rows_by(
    engine: Arc<dyn Engine>,
    snapshot: SnapshotRef,
    column: &str,
) -> KernelResult<Vec<(String, u64)>> {
    let schema = snapshot.schema().project(&[column])?;
    let scan = snapshot.scan_builder().with_schema(schema).build()?;
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for data in scan.execute(engine)? {
        let batch = data.try_into_record_batch()?;
        count_texts(&mut counts, &batch);
    }
    Ok(counts.into_iter().collect())
}

/// Rows of the table, at most `rows_max`.
pub(super) fn some_rows(
    engine: Arc<dyn Engine>,
    snapshot: SnapshotRef,
    rows_max: usize,
) -> KernelResult<Vec<RecordBatch>> {
    let scan = snapshot.scan_builder().build()?;
    let (mut batches, mut rows) = (Vec::new(), 0);
    for data in scan.execute(engine)? {
        let batch = data.try_into_record_batch()?;
        let batch = batch.slice(0, batch.num_rows().min(rows_max - rows));
        rows += batch.num_rows();
        batches.push(batch);
        if rows == rows_max {
            break;
        }
    }
    Ok(batches)
}
