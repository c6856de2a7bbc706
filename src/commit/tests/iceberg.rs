//! A folder that is a catalog: numbers that are taken once, and the hint, which is never believed.

use super::*;

/// What a request does to the storage before it is done.
struct Meanwhile<F>(F);

impl<F: Fn(&Call<'_>) + Send + Sync + 'static> Faults for Meanwhile<F> {
    fn treat(&self, call: &Call<'_>) -> Treatment {
        (self.0)(call);
        Treatment::from(Fault::None)
    }
}

fn folder() -> World {
    World::of(Format::Iceberg, Arc::new(InMemory::new()))
}

fn metadata(number: u64) -> Path {
    Path::from(format!("t/metadata/v{number}.metadata.json"))
}

fn hint() -> Path {
    Path::from("t/metadata/version-hint.text")
}

impl World {
    async fn clean(&self, numbers: std::ops::RangeInclusive<u64>) {
        for number in numbers {
            self.table.store().delete(&metadata(number)).await.unwrap();
        }
    }

    async fn is_there(&self, number: u64) -> bool {
        self.table.store().head(&metadata(number)).await.is_ok()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_cleaned_up_behind_a_frozen_writer_deceives_nobody() {
    let world = folder();
    world.take(&["first"]).await;
    let pin = world.pin().await;
    let plan = world.plan(&pin, &["mine"]);
    for name in ["x", "y", "z"] {
        world.take(&[name]).await;
    }
    // Of numbers 1 to 5; the one that it would take is free again.
    world.clean(1..=4).await;
    assert_eq!(committed(world.commit(pin, &plan).await.unwrap()), 5);
    assert!(!world.is_there(3).await, "nothing was put where nobody looks");
    assert_eq!(world.names().await, ["first", "x", "y", "z", "mine"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_cleaned_up_behind_a_writer_as_it_writes_deceives_nobody() {
    let inner = Arc::new(InMemory::new());
    let storage = Arc::clone(&inner);
    let is_frozen = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let freezes = Arc::clone(&is_frozen);
    let cleaned = Meanwhile(move |call: &Call<'_>| {
        let is_commit = call.operation == Operation::Create && *call.path == metadata(3);
        if is_commit && freezes.swap(false, Ordering::SeqCst) {
            for number in 1..=4 {
                futures::executor::block_on(storage.delete(&metadata(number))).unwrap();
            }
        }
    });
    let others = World::of(Format::Iceberg, Arc::clone(&inner) as _);
    others.take(&["first"]).await;
    let clock = Arc::new(SystemClock::default());
    let faulty = FaultyStore::new(inner, Arc::new(cleaned), clock, Arc::default());
    let world = World::of(Format::Iceberg, Arc::new(faulty));
    let pin = world.pin().await;
    let plan = world.plan(&pin, &["mine"]);
    for name in ["x", "y", "z"] {
        others.take(&[name]).await;
    }
    // It has looked: number 2 was there. Then it is frozen, until what it looked at is gone.
    is_frozen.store(true, Ordering::SeqCst);
    others.clean(3..=3).await;
    assert_eq!(committed(world.commit(pin, &plan).await.unwrap()), 5);
    assert!(!is_frozen.load(Ordering::SeqCst), "it came to that");
    assert_eq!(world.names().await, ["first", "x", "y", "z", "mine"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_is_found_whatever_the_hint_says() {
    let world = folder();
    for version in 1..=80 {
        assert_eq!(world.take(&[&version.to_string()]).await, version);
    }
    // Each sequence of numbers is longer than what is looked for one by one.
    for says in ["1", "81", "80", "7", "500", "-1", "", "many", "99999999999999999999999"] {
        world.table.store().put(&hint(), says.to_owned().into()).await.unwrap();
        assert_eq!(world.pin().await.version(), Some(80), "{says:?}");
    }
    world.table.store().delete(&hint()).await.unwrap();
    assert_eq!(world.pin().await.version(), Some(80));
    // An old hint to a number that was cleaned away.
    world.clean(1..=50).await;
    world.table.store().put(&hint(), "20".into()).await.unwrap();
    assert_eq!(world.pin().await.version(), Some(80));
    assert_eq!(world.take(&["next"]).await, 81);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_put_back_makes_everybody_start_again() {
    let world = folder();
    for name in ["a", "b", "c"] {
        world.take(&[name]).await;
    }
    let pin = world.pin().await;
    let plan = world.plan(&pin, &["mine"]);
    world.clean(3..=4).await;
    planned_again(&world.commit(world.pin().await, &plan).await.unwrap(), "older version");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_without_a_snapshot_is_a_race_and_no_version() {
    let world = folder();
    world.take(&["first"]).await;
    let pin = world.pin().await;
    let plan = world.plan(&pin, &["mine"]);
    let store = world.table.store();
    let body = store.get(&metadata(2)).await.unwrap().bytes().await.unwrap();
    let mut theirs: serde_json::Value = serde_json::from_slice(&body).unwrap();
    theirs["properties"]["comment"] = "theirs".into();
    store.put(&metadata(3), theirs.to_string().into()).await.unwrap();
    assert_eq!(world.pin().await.version(), Some(1));
    let outcome = world.commit(pin, &plan).await.unwrap();
    assert!(matches!(outcome, Outcome::Committed { version: 2, attempts: 2, .. }), "{outcome:?}");
    let body = store.get(&metadata(4)).await.unwrap().bytes().await.unwrap();
    let ours: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(ours["properties"]["comment"], "theirs", "it is on top of theirs");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_a_catalogs_is_left_alone() {
    let world = folder();
    let path = Path::from("t/metadata/00003-5f0a.metadata.json");
    world.table.store().put(&path, "{}".into()).await.unwrap();
    let error = Pin::newest(world.table.as_ref(), "default").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TableUnsupported, "{error}");
}
