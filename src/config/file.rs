//! Reading `lakefeed.toml`: every complaint says which file, which line, which field.

use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;

use serde::Deserialize;
use serde::de::value::Error as Introspected;
use serde::de::{Deserializer, Error as _, Visitor};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{
    ColumnOptions, CsvOptions, DriftOptions, DynamoDbOptions, Feed, LeaseOptions, S3Options,
    Settings, values, wrong,
};
use crate::error::{Error, Position, Result};

/// The largest configuration that is read; beyond it, it is surely something else.
pub const CONFIGURATION_BYTES_MAX: u64 = 4 << 20;

impl Settings {
    /// Reads and checks a configuration file.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Configuration`], with the file and the line.
    pub fn read(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let unreadable = |cause| {
            wrong("the configuration cannot be read")
                .with_object(&name)
                .with_cause(cause)
                .with_advice("check --config and LAKEFEED_CONFIG")
        };
        if std::fs::metadata(path).map_err(unreadable)?.len() > CONFIGURATION_BYTES_MAX {
            return Err(wrong("it is too large for a configuration file").with_object(name));
        }
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        Self::parse(&text).map_err(|error| error.with_object(name))
    }

    /// Parses and checks the text of a configuration file.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Configuration`], with the line.
    pub fn parse(text: &str) -> Result<Self> {
        let root = DeTable::parse(text)
            .map_err(|error| at(text, error.span(), wrong(error.message().replace('\n', ", "))))?;
        let outline =
            Outline::of(root.get_ref()).map_err(|(span, error)| at(text, Some(span), error))?;
        let settings = Self::deserialize(toml::Deserializer::from(root)).map_err(|error| {
            let span = error.span();
            let field = span.as_ref().and_then(|span| outline.field_at(span.start));
            let message = match field {
                Some(field) => format!("{field}: {}", error.message()),
                None => error.message().to_owned(),
            };
            let advice = "docs/configuration.md has every field with an example";
            at(text, span, wrong(message).with_advice(advice))
        })?;
        for (name, span, checked) in [
            ("[s3]", &outline.s3, settings.s3.validate()),
            ("[dynamodb]", &outline.dynamodb, settings.dynamodb.validate()),
        ] {
            checked.map_err(|error| at(text, span.clone(), within(name, &error)))?;
        }
        let mut names = HashSet::new();
        for (feed, span) in settings.feeds.iter().zip(&outline.feeds) {
            let checked = match names.insert(&feed.name) {
                true => feed.validate(),
                false => Err(wrong("there is a feed of that name already")
                    .with_advice("give each [[feed]] a name of its own")),
            };
            checked.map_err(|error| {
                at(text, Some(span.clone()), within(&format!("[[feed]] {:?}", feed.name), &error))
            })?;
        }
        settings.validate_commits()?;
        Ok(settings)
    }
}

/// Where in the file the fields and the feeds are.
#[derive(Default)]
struct Outline {
    fields: Vec<(Range<usize>, String)>,
    feeds: Vec<Range<usize>>,
    s3: Option<Range<usize>>,
    dynamodb: Option<Range<usize>>,
}

type Misplaced = (Range<usize>, Error);

impl Outline {
    /// Walks the tables whose fields are known, and refuses the first field that is not.
    fn of(root: &DeTable<'_>) -> Result<Self, Misplaced> {
        let mut outline = Self::default();
        outline.add::<Settings>(root, "")?;
        outline.s3 = outline.add_service::<S3Options>(root, "s3")?;
        outline.dynamodb = outline.add_service::<DynamoDbOptions>(root, "dynamodb")?;
        let Some(DeValue::Array(feeds)) = root.get("feed").map(Spanned::get_ref) else {
            return Ok(outline);
        };
        for feed in feeds.iter() {
            outline.feeds.push(feed.span());
            let DeValue::Table(fields) = feed.get_ref() else {
                continue;
            };
            let name = match fields.get("name").map(Spanned::get_ref) {
                Some(DeValue::String(name)) => name,
                _ => "default",
            };
            outline.add::<Feed>(fields, &format!("[[feed]] {name:?}"))?;
            if let Some(DeValue::Table(options)) = fields.get("csv").map(Spanned::get_ref) {
                outline.add::<CsvOptions>(options, &format!("[feed.csv] of {name:?}"))?;
            }
            if let Some(DeValue::Table(options)) = fields.get("drift").map(Spanned::get_ref) {
                outline.add::<DriftOptions>(options, &format!("[feed.drift] of {name:?}"))?;
            }
            if let Some(DeValue::Table(options)) = fields.get("lease").map(Spanned::get_ref) {
                outline.add::<LeaseOptions>(options, &format!("[feed.lease] of {name:?}"))?;
            }
            if let Some(DeValue::Table(columns)) = fields.get("columns").map(Spanned::get_ref) {
                let place = format!("[feed.columns] of {name:?}");
                for (column, value) in columns.iter() {
                    outline.note(column.get_ref(), value, &place);
                    if let DeValue::Table(options) = value.get_ref() {
                        let place = format!("column {:?} of {name:?}", column.get_ref());
                        outline.add::<ColumnOptions>(options, &place)?;
                    }
                }
            }
        }
        Ok(outline)
    }

    /// Adds one of Amazon's services, and says where it is.
    fn add_service<T: for<'de> Deserialize<'de>>(
        &mut self,
        root: &DeTable<'_>,
        name: &str,
    ) -> Result<Option<Range<usize>>, Misplaced> {
        let Some(service) = root.get(name) else { return Ok(None) };
        if let DeValue::Table(options) = service.get_ref() {
            self.add::<T>(options, &format!("[{name}]"))?;
        }
        Ok(Some(service.span()))
    }

    fn add<T: for<'de> Deserialize<'de>>(
        &mut self,
        table: &DeTable<'_>,
        place: &str,
    ) -> Result<(), Misplaced> {
        for (key, value) in table.iter() {
            if !fields_of::<T>().contains(&key.get_ref().as_ref()) {
                return Err((key.span(), unknown::<T>(key.get_ref(), place)));
            }
            // What a table holds is noted field by field.
            if !matches!(value.get_ref(), DeValue::Table(_)) {
                self.note(key.get_ref(), value, place);
            }
        }
        Ok(())
    }

    fn note(&mut self, field: &str, value: &Spanned<DeValue<'_>>, place: &str) {
        let separator = if place.is_empty() { "" } else { " in " };
        self.fields.push((value.span(), format!("{field}{separator}{place}")));
    }

    fn field_at(&self, byte: usize) -> Option<&str> {
        // The innermost was noted last.
        let holds = |(span, _): &&(Range<usize>, String)| span.contains(&byte);
        self.fields.iter().rev().find(holds).map(|(_, field)| field.as_str())
    }
}

/// The error for a field that `T` does not have.
pub(super) fn unknown<T: for<'de> Deserialize<'de>>(field: &str, place: &str) -> Error {
    let known = fields_of::<T>();
    let separator = if place.is_empty() { "" } else { " in " };
    let error = wrong(format!("unknown field {field:?}{separator}{place}"));
    match values::nearest(field, known) {
        Some(nearest) => error.with_advice(format!("did you mean {nearest:?}?")),
        None => error.with_advice(format!("the fields are {}", known.join(", "))),
    }
}

/// Names the table that an error is about.
fn within(table: &str, error: &Error) -> Error {
    let named = wrong(format!("{table}: {}", error.message()));
    match error.advice() {
        Some(advice) => named.with_advice(advice),
        None => named,
    }
}

/// Gives an error its place in the file.
fn at(text: &str, span: Option<Range<usize>>, error: Error) -> Error {
    let Some(before) = span.and_then(|span| text.as_bytes().get(..span.start)) else {
        return error;
    };
    let line = 1 + before.iter().filter(|byte| **byte == b'\n').count() as u64;
    error.with_position(Position { line, byte: before.len() as u64, column: None })
}

/// The names of a structure's fields, as serde knows them.
pub(super) fn fields_of<T: for<'de> Deserialize<'de>>() -> &'static [&'static str] {
    struct Fields<'a>(&'a mut &'static [&'static str]);

    impl<'de> Deserializer<'de> for Fields<'_> {
        type Error = Introspected;

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Introspected> {
            Err(Introspected::custom("only the names of fields are asked for"))
        }

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            visitor: V,
        ) -> Result<V::Value, Introspected> {
            *self.0 = fields;
            self.deserialize_any(visitor)
        }

        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit
            unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }

    let mut fields: &'static [&'static str] = &[];
    // It always fails, after it has been told the names.
    let _ = T::deserialize(Fields(&mut fields));
    fields
}
