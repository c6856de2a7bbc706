//! One case: what is in its folder, and what came of it.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::difference::differences;
use crate::world::World;

/// A folder of objects, with a configuration and what is expected.
pub struct Case {
    folder: PathBuf,
    /// The objects that are there at once, and then those that come later, by name.
    runs: [Vec<(String, Vec<u8>)>; 2],
    feed: String,
    expected: Value,
}

impl Case {
    pub fn read(folder: PathBuf) -> Self {
        let mut runs = [Vec::new(), Vec::new()];
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let run = ["input", "later"].iter().position(|word| name.starts_with(word));
            if let Some(run) = run {
                runs[run].push((name, std::fs::read(&path).unwrap()));
            }
        }
        runs.iter_mut().for_each(|run| run.sort());
        assert!(!runs[0].is_empty(), "{} has no input", folder.display());
        let feed = std::fs::read_to_string(folder.join("feed.toml")).unwrap_or_default();
        let expected = std::fs::read(folder.join("expected.json")).unwrap();
        let expected = serde_json::from_slice(&expected)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        Self { folder, runs, feed, expected }
    }

    /// Its subject and its own name.
    pub fn name(&self) -> String {
        let names: Vec<_> = self.folder.iter().rev().take(2).collect();
        format!("{}/{}", names[1].display(), names[0].display())
    }

    /// What differs from what is expected; of a case that is open, that nothing does any more.
    pub async fn run(&self, update: bool) -> Vec<String> {
        let came = self.outcome().await;
        let different = differences(&self.whole_expectation(), &came);
        if let Some(why) = self.expected.get("open") {
            return match different.is_empty() {
                true => vec![format!("it is open ({why}), and passes: take \"open\" out")],
                false => Vec::new(),
            };
        }
        if update && !different.is_empty() {
            let path = self.folder.join("expected.new.json");
            std::fs::write(path, pretty(&came)).unwrap();
        }
        different
    }

    async fn outcome(&self) -> Value {
        let world = match World::new(&self.feed) {
            Ok(world) => world,
            Err(error) => return json!({ "error": error_of(&error) }),
        };
        let mut receipts = Vec::new();
        for run in self.runs.iter().filter(|run| !run.is_empty()) {
            match world.ingest(run).await {
                Ok(of_run) => receipts.extend(of_run),
                Err(error) => return json!({ "error": error_of(&error) }),
            }
        }
        world.outcome(&receipts).await
    }

    /// What is not said is that nothing is wrong.
    fn whole_expectation(&self) -> Value {
        let mut expected = self.expected.clone();
        let fields = expected.as_object_mut().expect("expected.json is an object");
        fields.remove("about");
        fields.remove("open");
        if !fields.contains_key("error") {
            fields.insert("error".to_owned(), Value::Null);
            fields.entry("bad").or_insert_with(|| json!([]));
        }
        expected
    }
}

/// JSON with a line for each row.
fn pretty(came: &Value) -> String {
    let mut text = String::from("{\n");
    let fields = came.as_object().unwrap();
    let fields = fields.iter().filter(|(_, value)| !value.is_null() && **value != json!([]));
    let lines: Vec<String> = fields
        .map(|(key, value)| match value.as_array().filter(|_| key != "columns") {
            Some(items) => {
                let items: Vec<String> = items.iter().map(|item| format!("    {item}")).collect();
                format!("  {key:?}: [\n{}\n  ]", items.join(",\n"))
            }
            None => format!("  {key:?}: {value}"),
        })
        .collect();
    text += &lines.join(",\n");
    text + "\n}\n"
}

fn error_of(error: &lakefeed::error::Error) -> Value {
    let position = error.position();
    json!({
        "kind": error.kind(),
        "message": error.to_string(),
        "line": position.map(|position| position.line),
        "byte": position.map(|position| position.byte),
        "column": position.and_then(|position| position.column.clone()),
    })
}
