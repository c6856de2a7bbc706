//! What only Delta tables have: logs that are summed up and cleaned up, and columns that change.

use super::*;
use crate::table::SchemaChange;

#[tokio::test(flavor = "multi_thread")]
async fn a_log_cleaned_up_behind_a_frozen_writer_deceives_nobody() {
    let world = World::new();
    world.take(&["first"]).await;
    let pin = world.pin().await;
    let plan = world.plan(&pin, &["mine"]);
    // While it is frozen, others go on; then the versions it would follow are cleaned away.
    for name in ["x", "y", "z"] {
        world.take(&[name]).await;
    }
    checkpoint_and_clean(&world, 4).await;
    let version = committed(world.commit(pin, &plan).await.unwrap());
    assert_eq!(version, 5);
    assert_eq!(world.names().await, ["first", "x", "y", "z", "mine"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_put_back_makes_everybody_start_again() {
    let world = World::new();
    for name in ["a", "b", "c"] {
        world.take(&[name]).await;
    }
    let pin = world.pin().await;
    let plan = world.plan(&pin, &["mine"]);
    // From a backup, with all that its ledger names.
    for version in 2..=3 {
        let path = Path::from(format!("t/_delta_log/{version:020}.json"));
        world.table.store().delete(&path).await.unwrap();
    }
    planned_again(&world.commit(world.pin().await, &plan).await.unwrap(), "older version");
}

/// Writes a checkpoint at `version` as another writer would, and removes every commit up to it.
async fn checkpoint_and_clean(world: &World, version: u64) {
    use delta_kernel::snapshot::Snapshot as KernelSnapshot;
    use delta_kernel_default_engine::DefaultEngineBuilder;
    use delta_kernel_default_engine::executor::tokio::TokioMultiThreadExecutor;

    let store = Arc::clone(world.table.store());
    let handle = tokio::runtime::Handle::current();
    let executor = Arc::new(TokioMultiThreadExecutor::new(handle));
    tokio::task::spawn_blocking(move || {
        let engine = DefaultEngineBuilder::new(store).with_task_executor(executor).build();
        let snapshot =
            KernelSnapshot::builder_for("memory:///t/").at_version(version).build(&engine).unwrap();
        snapshot.checkpoint(&engine, None).unwrap();
    })
    .await
    .unwrap();
    for cleaned in 0..=version {
        let path = Path::from(format!("t/_delta_log/{cleaned:020}.json"));
        world.table.store().delete(&path).await.unwrap();
    }
}

impl World {
    /// A pin on which columns of whole numbers are added to the table.
    async fn pin_with(&self, columns: &[&str]) -> Pin {
        let pin = self.pin().await;
        let field = |name: &&str| Arc::new(Field::new(*name, DataType::Int64, true));
        let change = SchemaChange { added: columns.iter().map(field).collect(), widened: vec![] };
        let snapshot = pin.snapshot().unwrap();
        pin.evolved(self.table.plan_evolution(snapshot, &change).await.unwrap())
    }

    /// Another writer's commit, which changes the table's metadata, as text.
    async fn change_metadata(&self, from: &str, to: &str) {
        let path = |version: u64| Path::from(format!("t/_delta_log/{version:020}.json"));
        let first = self.table.store().get(&path(0)).await.unwrap().bytes().await.unwrap();
        let first = String::from_utf8(first.to_vec()).unwrap();
        let metadata = first.lines().find(|line| line.contains("\"metaData\"")).unwrap();
        let body = metadata.replacen(from, to, 1);
        assert_ne!(body, metadata);
        let version = self.pin().await.version().unwrap() + 1;
        self.table.store().put(&path(version), format!("{body}\n").into()).await.unwrap();
    }

    async fn columns(&self) -> Vec<String> {
        let pin = self.pin().await;
        pin.layout().schema.fields().iter().map(|field| field.name().clone()).collect()
    }
}

fn columns_added(outcome: Outcome) -> Vec<String> {
    match outcome {
        Outcome::Committed { columns_added, .. } => columns_added,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_columns_goes_on_top_of_whatever_left_them() {
    let world = World::new();
    world.take(&["a"]).await;
    let pin = world.pin_with(&["x"]).await;
    let plan = world.plan(&pin, &["b"]);
    world.take(&["c"]).await;
    assert_eq!(columns_added(world.commit(pin, &plan).await.unwrap()), ["x"]);
    assert_eq!(world.columns().await, ["id", "x"]);
    assert_eq!(world.names().await, ["a", "c", "b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_another_has_made_is_left_out() {
    let world = World::new();
    world.take(&["a"]).await;
    let pin = world.pin_with(&["x"]).await;
    let (one, other) = (world.plan(&pin, &["b"]), world.plan(&pin, &["c"]));
    assert_eq!(columns_added(world.commit(pin.clone(), &one).await.unwrap()), ["x"]);
    assert!(columns_added(world.commit(pin, &other).await.unwrap()).is_empty());
    assert_eq!(world.columns().await, ["id", "x"]);
    assert_eq!(world.names().await, ["a", "b", "c"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_columns_that_have_changed_is_planned_again() {
    let world = World::new();
    world.take(&["a"]).await;
    let (pin, first) = (world.pin_with(&["y"]).await, world.pin_with(&["x"]).await);
    let (late, plan) = (world.plan(&pin, &["c"]), world.plan(&first, &["b"]));
    let plain = world.pin().await;
    let plain_plan = world.plan(&plain, &["d"]);
    committed(world.commit(first, &plan).await.unwrap());
    planned_again(&world.commit(pin, &late).await.unwrap(), "columns have changed");
    planned_again(&world.commit(plain, &plain_plan).await.unwrap(), "columns have changed");
    let pin = world.pin_with(&["y"]).await;
    let late = world.plan(&pin, &["c"]);
    assert_eq!(columns_added(world.commit(pin, &late).await.unwrap()), ["y"]);
    assert_eq!(world.columns().await, ["id", "x", "y"]);
}

/// Its id, where columns are mapped, may be the one that the change would give.
#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_no_file_of_ours_stores_is_a_change_too() {
    let world = World::new();
    world.take(&["a"]).await;
    let (plain, pin) = (world.pin().await, world.pin_with(&["x"]).await);
    let (plan, changing) = (world.plan(&plain, &["b"]), world.plan(&pin, &["c"]));

    let nested = r#",{\"name\":\"address\",\"type\":{\"type\":\"struct\",\"fields\":[{\"name\":\"city\",\"type\":\"string\",\"nullable\":true,\"metadata\":{}}]},\"nullable\":true,\"metadata\":{}}]}","#;
    world.change_metadata(r#"]}","#, nested).await;

    planned_again(&world.commit(pin, &changing).await.unwrap(), "columns have changed");
    committed(world.commit(plain, &plan).await.unwrap());
    assert_eq!(world.columns().await, ["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_columns_is_planned_again_where_the_partitions_have_changed() {
    let world = World::new();
    world.take(&["a"]).await;
    let pin = world.pin_with(&["x"]).await;
    let plan = world.plan(&pin, &["b"]);
    world.change_metadata(r#""partitionColumns":[]"#, r#""partitionColumns":["id"]"#).await;
    planned_again(&world.commit(pin, &plan).await.unwrap(), "columns have changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_columns_with_a_lost_answer_is_made_once() {
    for fault in [Fault::LoseAnswer, Fault::DoneThenConflict] {
        let world = World::faulty(fault, u32::MAX);
        world.take(&["a"]).await;
        let pin = world.pin_with(&["x"]).await;
        let plan = world.plan(&pin, &["b"]);
        assert_eq!(columns_added(world.commit(pin, &plan).await.unwrap()), ["x"], "{fault:?}");
        assert_eq!(world.columns().await, ["id", "x"]);
        assert_eq!(world.names().await, ["a", "b"]);
    }
}
