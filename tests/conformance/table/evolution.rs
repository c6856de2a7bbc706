//! Columns that a table gets with the rows that need them.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field};
use lakefeed::error::ErrorKind;
use lakefeed::table::{Append, CommitOutcome, Evolution, SchemaChange, Snapshot, TableDefinition};

use crate::support::tables::{LEDGER, Lake, Process, numbered_rows, numbered_schema};

fn adding(columns: &[(&str, DataType)]) -> SchemaChange {
    let field =
        |(name, data_type): &(&str, DataType)| Arc::new(Field::new(*name, data_type.clone(), true));
    SchemaChange { added: columns.iter().map(field).collect(), widened: vec![] }
}

impl Process {
    async fn evolution(&self, base: &Snapshot, columns: &[(&str, DataType)]) -> Evolution {
        self.table.plan_evolution(base, &adding(columns)).await.unwrap()
    }

    /// One row of a table that has a column more of floating-point numbers, and what adds that column.
    async fn wider(&self, evolution: &Evolution, source: &str, id: i64) -> Append {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![id])),
            Arc::new(StringArray::from(vec![source])),
            Arc::new(Float64Array::from(vec![0.5])),
        ];
        let batch = RecordBatch::try_new(Arc::clone(&evolution.layout.schema), columns).unwrap();
        let files = self.write(&evolution.layout, &batch).await;
        Append { evolution: Some(evolution.clone()), ..self.append_of(files, source) }
    }
}

async fn a_change_of_columns_rides_with_its_rows(lake: Lake) {
    let (process, _) = lake.created().await;
    let base = process.add("a.csv", 0..1, 2).await;
    let evolution = process.evolution(&base, &[("price", DataType::Float64)]).await;
    let append = process.wider(&evolution, "b.csv", 7).await;
    assert_eq!(append.columns_added(), ["price"]);
    assert_eq!(lake.process().newest().await.layout, base.layout, "planning changes nothing");

    let outcome = process.try_commit(&base, &append, 3).await.unwrap();
    assert_eq!(outcome, CommitOutcome::Committed(2));
    let commit = lake.commit(2).await;
    assert_eq!(commit.columns.as_deref().unwrap(), ["id", "source", "price"]);
    assert_eq!((commit.added.len(), commit.pointers[LEDGER]), (1, 3));
    assert_eq!(commit.added[0].nulls["price"], 0);

    let now = lake.process().newest().await;
    assert_eq!(now.layout, evolution.layout, "files for the one are right for the other");
    assert_ne!(now.columns_id, base.columns_id);
    assert_eq!((&now.table_id, now.pointer), (&base.table_id, Some(3)));
    let expected = ["id=0 source=a.csv price=null", "id=7 source=b.csv price=0.5"];
    assert_eq!(process.rows(&now).await, expected);
    assert_eq!(
        process.rows(&base).await,
        numbered_rows("a.csv", 0..1),
        "an old version is as it was"
    );
}

async fn a_change_on_a_stale_pin_conflicts_and_changes_nothing(lake: Lake) {
    let (process, stale) = lake.created().await;
    let evolution = process.evolution(&stale, &[("price", DataType::Float64)]).await;
    let late = process.wider(&evolution, "late.csv", 7).await;
    let newest = lake.process().add("first.csv", 0..1, 2).await;
    assert_eq!(process.try_commit(&stale, &late, 3).await.unwrap(), CommitOutcome::Conflict);
    assert_eq!(lake.process().newest().await.layout, stale.layout);
    // The columns are still those that it changes.
    assert_eq!(newest.columns_id, evolution.columns_id);
    assert_eq!(process.try_commit(&newest, &late, 3).await.unwrap(), CommitOutcome::Committed(2));
    assert_eq!(process.rows(&process.newest().await).await.len(), 2);
}

async fn the_same_column_by_two_writers_is_one_layout(lake: Lake) {
    let (one, base) = lake.created().await;
    let other = lake.process();
    let columns = [("price", DataType::Float64)];
    let (first, second) =
        (one.evolution(&base, &columns).await, other.evolution(&base, &columns).await);
    let (a, b) = (one.wider(&first, "a.csv", 1).await, other.wider(&second, "b.csv", 2).await);
    assert_eq!(one.try_commit(&base, &a, 2).await.unwrap(), CommitOutcome::Committed(1));
    let newest = other.newest().await;
    assert_eq!(newest.layout, second.layout);
    // What is there already is not added again.
    let b = Append { evolution: None, ..b };
    assert_eq!(other.try_commit(&newest, &b, 3).await.unwrap(), CommitOutcome::Committed(2));
    let expected = ["id=1 source=a.csv price=0.5", "id=2 source=b.csv price=0.5"];
    assert_eq!(one.rows(&one.newest().await).await, expected);
}

async fn different_columns_by_two_writers_are_different_layouts(lake: Lake) {
    let (one, base) = lake.created().await;
    let first = one.evolution(&base, &[("price", DataType::Float64)]).await;
    let second = one.evolution(&base, &[("weight", DataType::Float64)]).await;
    let wider = one.wider(&first, "a.csv", 1).await;
    assert_eq!(one.try_commit(&base, &wider, 2).await.unwrap(), CommitOutcome::Committed(1));
    let newest = one.newest().await;
    assert_ne!(newest.layout, second.layout);
    assert_ne!(newest.columns_id, second.columns_id);
    // Planned again, only what is still missing is added.
    let again = one.evolution(&newest, &[("weight", DataType::Float64)]).await;
    let append = Append { evolution: Some(again), ..one.append_of(vec![], "b.csv") };
    assert_eq!(one.try_commit(&newest, &append, 3).await.unwrap(), CommitOutcome::Committed(2));
    let columns = lake.commit(2).await.columns.unwrap();
    assert_eq!(columns, ["id", "source", "price", "weight"]);
}

async fn a_partitioned_table_gets_its_column_behind_the_others(lake: Lake) {
    let partition_by = vec!["source".to_owned()];
    let definition = TableDefinition { schema: numbered_schema(), partition_by };
    let (process, base) = lake.created_as(&definition).await;
    let evolution = process.evolution(&base, &[("price", DataType::Float64)]).await;
    assert_eq!(evolution.layout.partition_columns, [1]);
    let append = process.wider(&evolution, "b.csv", 7).await;
    assert_eq!(process.try_commit(&base, &append, 2).await.unwrap(), CommitOutcome::Committed(1));
    let commit = lake.commit(1).await;
    assert_eq!(commit.added[0].partition["source"].as_deref(), Some("b.csv"));
    assert_eq!(process.rows(&process.newest().await).await, ["id=7 source=b.csv price=0.5"]);
}

async fn a_column_that_there_is_no_room_for_is_refused(lake: Lake) {
    let (process, base) = lake.created().await;
    let string = DataType::Utf8;
    for columns in
        [vec![("ID", string.clone())], vec![("new", string.clone()), ("NEW", string.clone())]]
    {
        let error = process.table.plan_evolution(&base, &adding(&columns)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SchemaMismatch, "{columns:?}: {error}");
        assert!(error.advice().is_some() && error.object().is_some(), "{error}");
    }
}

on_every_delta_table!([
    a_change_of_columns_rides_with_its_rows,
    a_change_on_a_stale_pin_conflicts_and_changes_nothing,
    the_same_column_by_two_writers_is_one_layout,
    different_columns_by_two_writers_are_different_layouts,
    a_partitioned_table_gets_its_column_behind_the_others,
    a_column_that_there_is_no_room_for_is_refused,
]);
