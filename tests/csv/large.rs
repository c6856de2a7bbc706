//! Files that nobody wants in a repository: they are made as they are read.

use serde_json::json;

use crate::world::World;

const COLUMNS: usize = 10_000;
const LONG_ROW_BYTES: usize = 200 << 20;

fn joined(count: usize, field: impl Fn(usize) -> String) -> String {
    (0..count).map(field).collect::<Vec<_>>().join(",")
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_columns_are_a_table() {
    let header = joined(COLUMNS, |i| format!("c{i}"));
    let first = joined(COLUMNS, |i| i.to_string());
    let second = joined(COLUMNS, |i| if i % 2 == 0 { String::new() } else { format!("-{i}") });
    let object = format!("{header}\n{first}\n{second}\n").into_bytes();
    let world = World::new("").unwrap();
    let receipts = world.ingest(&[("input.csv".to_owned(), object)]).await.unwrap();
    let outcome = world.outcome(&receipts).await;
    assert_eq!(outcome["error"], json!(null), "{}", outcome["error"]);
    assert_eq!(outcome["columns"].as_array().unwrap().len(), COLUMNS);
    let rows = outcome["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    let numbers: Vec<_> = (0..COLUMNS).map(|i| json!(i.to_string())).collect();
    let negative = |i| if i % 2 == 0 { json!(null) } else { json!(format!("-{i}")) };
    assert_eq!(rows[0], json!(numbers));
    assert_eq!(rows[1], json!((0..COLUMNS).map(negative).collect::<Vec<_>>()));
}

/// A row of 200 MB, between others.
fn with_a_long_row() -> Vec<u8> {
    let mut object = b"id,text\n1,a\n2,".to_vec();
    object.resize(object.len() + LONG_ROW_BYTES, b'x');
    object.extend_from_slice(b"\n3,c\n");
    object
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_200_mb_is_read_where_lines_may_be_so_long() {
    let feed = "[feed.csv]\nline_bytes_max = \"256MiB\"\nfield_bytes_max = \"256MiB\"\n";
    let world = World::with_budget(feed, 4 << 30).unwrap();
    let receipts = world.ingest(&[("input.csv".to_owned(), with_a_long_row())]).await.unwrap();
    let outcome = world.outcome(&receipts).await;
    assert_eq!(outcome["error"], json!(null), "{}", outcome["error"]);
    let lengths: Vec<usize> =
        outcome["rows"].as_array().unwrap().iter().map(|r| r[1].as_str().unwrap().len()).collect();
    assert_eq!(lengths, [1, LONG_ROW_BYTES, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_200_mb_is_one_bad_row_where_they_may_not() {
    let world = World::new("[feed.csv]\nbad_rows = \"drop\"\n").unwrap();
    let receipts = world.ingest(&[("input.csv".to_owned(), with_a_long_row())]).await.unwrap();
    let outcome = world.outcome(&receipts).await;
    assert_eq!(outcome["error"], json!(null), "{}", outcome["error"]);
    assert_eq!(outcome["rows"], json!([["1", "a"], ["3", "c"]]));
    assert_eq!(outcome["bad"][0]["line"], json!(3));
    assert_eq!(outcome["bad"][0]["byte"], json!(12));
}
