//! `docs/configuration.md` and the code agree.

use super::file::fields_of;
use super::*;

const PAGE: &str = include_str!("../../docs/configuration.md");

/// What the page says of one field.
struct Described {
    name: &'static str,
    default: Option<&'static str>,
    required: bool,
    example: &'static str,
}

/// The fields of one section of the page, in its order.
fn described(section: &str) -> Vec<Described> {
    let sections = PAGE.split("\n## ");
    let section = sections.filter_map(|text| text.strip_prefix(section)).next().unwrap();
    let described = |text: &'static str| {
        let (name, text) = text.split_once("`\n").unwrap();
        let after = |mark: &str| text.split_once(mark).map(|(_, rest)| rest);
        let default = after("Default: `").map(|rest| rest.split_once('`').unwrap().0);
        let (_, example) = text.split_once("```toml\n").unwrap();
        Described {
            name,
            default,
            required: after("Required.").is_some(),
            example: example.split_once("```").unwrap().0,
        }
    };
    section.split("\n### `").skip(1).map(described).collect()
}

/// A feed with these lines, and with what is required where they don't say it.
fn feed(lines: &str) -> Feed {
    let has = |name: &str| lines.lines().any(|line| line.starts_with(name));
    let source = if has("source =") { "" } else { "source = 'in'\n" };
    let table = if has("table =") { "" } else { "table = 'out'\n" };
    let text = format!("[[feed]]\n{source}{table}{lines}");
    Settings::parse(&text).unwrap_or_else(|error| panic!("{text}\n{error}")).feeds.remove(0)
}

fn column(lines: &str) -> Feed {
    feed(&format!("[feed.columns.price]\n{lines}"))
}

fn option(line: &str) -> Feed {
    feed(&format!("[feed.csv]\n{line}"))
}

fn drift(line: &str) -> Feed {
    feed(&format!("[feed.drift]\n{line}"))
}

fn s3(lines: &str) -> S3Options {
    let text = format!("[s3]\n{lines}");
    Settings::parse(&text).unwrap_or_else(|error| panic!("{text}\n{error}")).s3
}

fn dynamodb(lines: &str) -> DynamoDbOptions {
    let text = format!("[dynamodb]\n{lines}");
    Settings::parse(&text).unwrap_or_else(|error| panic!("{text}\n{error}")).dynamodb
}

fn lease(line: &str) -> Feed {
    feed(&format!("[feed.lease]\n{line}"))
}

fn names(section: &str) -> Vec<&'static str> {
    described(section).iter().map(|field| field.name).collect()
}

#[test]
fn the_page_has_every_field_and_no_other() {
    assert_eq!(names("The file"), fields_of::<Settings>());
    assert_eq!(names("`[[feed]]`"), fields_of::<Feed>());
    assert_eq!(names("`[feed.lease]`"), fields_of::<LeaseOptions>());
    assert_eq!(names("`[feed.csv]`"), fields_of::<CsvOptions>());
    assert_eq!(names("`[feed.columns]`"), fields_of::<ColumnOptions>());
    assert_eq!(names("`[feed.drift]`"), fields_of::<DriftOptions>());
    assert_eq!(names("`[s3]`"), fields_of::<S3Options>());
    assert_eq!(names("`[dynamodb]`"), fields_of::<DynamoDbOptions>());
}

#[test]
fn every_default_is_the_codes() {
    let feeds = described("`[[feed]]`").into_iter().map(|field| (field, feed as fn(&str) -> Feed));
    let leases = described("`[feed.lease]`").into_iter().map(|field| (field, lease as _));
    let options = described("`[feed.csv]`").into_iter().map(|field| (field, option as _));
    let drifts = described("`[feed.drift]`").into_iter().map(|field| (field, drift as _));
    let all = feeds.chain(leases).chain(options).chain(drifts);
    for (Described { name, default, required, .. }, parse) in all {
        assert_ne!(default.is_some(), required, "{name}");
        if let Some(default) = default {
            assert_eq!(parse(&format!("{name} = {default}\n")), feed(""), "{name}");
        }
    }
    assert_eq!(Settings::parse("feed = []").unwrap(), Settings::default());
    assert_eq!(Settings::parse("s3 = {}").unwrap(), Settings::default());
    assert_eq!(Settings::parse("dynamodb = {}").unwrap(), Settings::default());
    for Described { name, default, .. } in described("`[s3]`") {
        if let Some(default) = default {
            assert_eq!(s3(&format!("{name} = {default}\n")), s3(""), "{name}");
        }
    }
    for Described { name, default, .. } in described("`[dynamodb]`") {
        if let Some(default) = default {
            assert_eq!(dynamodb(&format!("{name} = {default}\n")), dynamodb(""), "{name}");
        }
    }
    let memory = &described("The file")[0];
    assert_eq!((memory.name, memory.default), ("memory", None));
    assert_eq!(Settings::default().memory, None);
}

#[test]
fn what_is_required_is_refused_when_it_is_left_out() {
    let required: Vec<_> =
        described("`[[feed]]`").into_iter().filter(|field| field.required).collect();
    assert_eq!(required.len(), 2);
    for Described { name, .. } in required {
        let other = if name == "source" { "table" } else { "source" };
        let error = Settings::parse(&format!("[[feed]]\n{other} = 'x'\n")).unwrap_err();
        assert!(error.message().contains(&format!("{name} is missing")), "{error}");
    }
}

#[test]
fn every_example_parses_and_says_something_of_its_field() {
    for Described { name, example, .. } in described("The file") {
        assert_ne!(Settings::parse(example).unwrap(), Settings::default(), "{name}");
    }
    for Described { name, example, .. } in described("`[[feed]]`") {
        assert!(example.contains(name), "{name}");
        assert!(feed(example) != feed("") || name == "format", "{name}");
    }
    for Described { name, example, .. } in described("`[feed.lease]`") {
        assert!(example.starts_with(name), "{name}");
        assert_ne!(lease(example), feed(""), "{name}");
    }
    for Described { name, example, .. } in described("`[feed.csv]`") {
        assert!(example.starts_with(name), "{name}");
        assert_ne!(option(example), feed(""), "{name}");
    }
    for Described { name, example, .. } in described("`[feed.columns]`") {
        assert!(example.contains(name), "{name}");
        let without: String = example
            .lines()
            .filter(|line| !line.starts_with(name))
            .fold(String::new(), |lines, line| lines + line + "\n");
        assert_ne!(column(example), column(&without), "{name}");
    }
    for Described { name, example, .. } in described("`[feed.drift]`") {
        assert!(example.starts_with(name), "{name}");
        assert_ne!(drift(example), feed(""), "{name}");
    }
    for Described { name, example, .. } in described("`[s3]`") {
        assert!(example.starts_with(name), "{name}");
        assert_ne!(s3(example), S3Options::default(), "{name}");
    }
    for Described { name, example, .. } in described("`[dynamodb]`") {
        assert!(example.starts_with(name), "{name}");
        assert_ne!(dynamodb(example), DynamoDbOptions::default(), "{name}");
    }
}

#[test]
fn the_example_at_the_top_is_read() {
    let example = PAGE.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let settings = Settings::parse(example).unwrap();
    assert_eq!(settings.feed("orders").unwrap().csv.delimiter.as_deref(), Some(&b";"[..]));
}
