//! What fits into no column of its own, as JSON in one.
//!
//! A row's rescued values are one JSON object: `{"price":"12,50","_surplus":["x"]}`. What is under the
//! name of a column is the text of its field. Beside those there are [`Keys`], for what is no column's.

use std::io;

use arrow::array::{ArrayRef, StringBuilder};

use super::column::Rows;
use super::decode::{DecodePlan, Target};
use super::dialect::{Dialect, FieldReader};
use super::irregular::{Irregular, rescue_too_long};
use super::reject::{Fault, RejectKind};
use super::value::Nulls;

/// What JSON takes for a name beside the name itself: quotes, a colon, a comma.
const JSON_BYTES_BY_NAME: usize = 6;

/// The keys of what belongs to no single column. One that is a column's name already gets another
/// underscore in front.
#[derive(Debug, Clone)]
struct Keys {
    /// A list of the fields that are too many.
    surplus: String,
    /// How many fields are missing.
    missing: String,
    /// A row whose quotes make no sense, or that is too long to be told apart into fields.
    raw: String,
    /// A row that is not text, byte by byte in base64.
    raw_base64: String,
}

impl Keys {
    fn beside(names: &[&str]) -> Self {
        let free = |key: &str| {
            let mut key = key.to_owned();
            while names.contains(&key.as_str()) {
                key.insert(0, '_');
            }
            key
        };
        Self {
            surplus: free("_surplus"),
            missing: free("_missing"),
            raw: free("_raw"),
            raw_base64: free("_raw_base64"),
        }
    }
}

/// The column of rescued values, while it is filled.
pub(super) struct Rescue {
    /// Which column of the output it is.
    pub(super) column: usize,
    /// The fields that have no column of their own, by position, and their names.
    fields: Vec<(usize, String)>,
    /// What is null in them.
    nulls: Nulls,
    keys: Keys,
    json: StringBuilder,
    /// The longest that is rescued of one row.
    bytes_max: usize,
    /// What the names of all columns take in JSON.
    pub(super) names_bytes: usize,
}

/// One row of which something is to be rescued.
pub(super) struct Wreck<'a> {
    /// Its fields.
    pub(super) row: Rows<'a>,
    /// Its bytes as they are in the object.
    pub(super) bytes: &'a [u8],
    pub(super) irregular: Option<&'a Irregular>,
    /// All that is wrong with it.
    pub(super) faults: &'a [Fault],
}

impl Rescue {
    /// For `plan`, where it has a column of rescued values.
    pub(super) fn new(plan: &DecodePlan, dialect: &Dialect, bytes_max: usize) -> Option<Self> {
        let column = plan.rescued?;
        let mut names: Vec<&str> =
            plan.schema.fields().iter().map(|field| field.name().as_str()).collect();
        let mut fields = Vec::new();
        for (position, target) in plan.fields.iter().enumerate() {
            if let Target::Rescued(name) = target {
                fields.push((position, name.clone()));
                names.push(name);
            }
        }
        let names_bytes = names.iter().map(|name| name.len() + JSON_BYTES_BY_NAME).sum();
        let keys = Keys::beside(&names);
        let nulls = Nulls::new(&dialect.null_values);
        let json = StringBuilder::new();
        Some(Self { column, fields, nulls, keys, json, bytes_max, names_bytes })
    }

    /// Whether there are fields of which every row's value goes here.
    pub(super) fn has_fields(&self) -> bool {
        !self.fields.is_empty()
    }

    /// Appends rows of which nothing is rescued.
    pub(super) fn append_nulls(&mut self, rows: usize) {
        self.json.append_nulls(rows);
    }

    /// Appends what is rescued of one row; how long it is.
    ///
    /// # Errors
    /// A fault where it is too long; nothing is appended then.
    pub(super) fn append(
        &mut self,
        wreck: &Wreck<'_>,
        plan: &DecodePlan,
        dialect: &Dialect,
    ) -> Result<usize, Fault> {
        let json = self.render(wreck, plan, dialect);
        let json = json.map_err(|_| rescue_too_long(self.bytes_max))?;
        match std::str::from_utf8(&json) {
            Ok(json) if !json.is_empty() => self.json.append_value(json),
            _ => self.json.append_null(),
        }
        Ok(json.len())
    }

    pub(super) fn finish(&mut self) -> ArrayRef {
        std::sync::Arc::new(self.json.finish())
    }

    fn render(
        &self,
        wreck: &Wreck<'_>,
        plan: &DecodePlan,
        dialect: &Dialect,
    ) -> io::Result<Vec<u8>> {
        let Wreck { row, bytes, irregular, faults } = wreck;
        let reader = row.reader;
        let mut object = Object::new(self.bytes_max);
        for fault in faults.iter().filter(|fault| fault.kind == RejectKind::BadValue) {
            if let Some(at) = fault.field {
                let name = plan.schema.field(at.column).name();
                object.text(name, &reader.text(row.field(0, at.position)))?;
            }
        }
        for (position, name) in &self.fields {
            if *position < row.fields_per_row() {
                let field = row.field(0, *position);
                let text = reader.text(field);
                if reader.is_quoted(field) || !self.nulls.contain(&text) {
                    object.text(name, &text)?;
                }
            }
        }
        if let Some(irregular) = irregular {
            self.render_irregular(&mut object, irregular, bytes, dialect, reader)?;
        }
        object.finish()
    }

    fn render_irregular(
        &self,
        object: &mut Object,
        irregular: &Irregular,
        bytes: &[u8],
        dialect: &Dialect,
        reader: &FieldReader,
    ) -> io::Result<()> {
        if let Some(surplus) = irregular.surplus(dialect, reader) {
            object.texts(&self.keys.surplus, surplus)?;
        }
        if irregular.missing > 0 {
            object.number(&self.keys.missing, irregular.missing)?;
        }
        if irregular.is_raw {
            object.text(&self.keys.raw, bytes)?;
        }
        let is_altered = irregular.is_raw && std::str::from_utf8(bytes).is_err();
        if irregular.is_mended || is_altered {
            object.base64(&self.keys.raw_base64, bytes)?;
        }
        Ok(())
    }
}

/// A JSON object of bounded size.
struct Object {
    bytes: Vec<u8>,
    bytes_max: usize,
}

impl Object {
    fn new(bytes_max: usize) -> Self {
        Self { bytes: Vec::new(), bytes_max }
    }

    fn key(&mut self, key: &str) -> io::Result<()> {
        let before: &[u8] = if self.bytes.is_empty() { b"{" } else { b"," };
        io::Write::write_all(self, before)?;
        self.string(key.as_bytes())?;
        io::Write::write_all(self, b":")
    }

    fn string(&mut self, text: &[u8]) -> io::Result<()> {
        // What is longer than all of it may be is not even copied to be made valid.
        if text.len() > self.bytes_max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        serde_json::to_writer(self, &String::from_utf8_lossy(text)).map_err(io::Error::from)
    }

    fn text(&mut self, key: &str, text: &[u8]) -> io::Result<()> {
        self.key(key)?;
        self.string(text)
    }

    fn texts<T: AsRef<[u8]>>(
        &mut self,
        key: &str,
        texts: impl Iterator<Item = T>,
    ) -> io::Result<()> {
        self.key(key)?;
        let mut before: &[u8] = b"[";
        for text in texts {
            io::Write::write_all(self, before)?;
            self.string(text.as_ref())?;
            before = b",";
        }
        io::Write::write_all(self, b"]")
    }

    fn number(&mut self, key: &str, number: usize) -> io::Result<()> {
        self.key(key)?;
        serde_json::to_writer(self, &number).map_err(io::Error::from)
    }

    fn base64(&mut self, key: &str, bytes: &[u8]) -> io::Result<()> {
        use base64::Engine as _;
        self.key(key)?;
        if bytes.len() > self.bytes_max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.string(base64::engine::general_purpose::STANDARD.encode(bytes).as_bytes())
    }

    /// The object; nothing where nothing was put into it.
    fn finish(mut self) -> io::Result<Vec<u8>> {
        if !self.bytes.is_empty() {
            io::Write::write_all(&mut self, b"}")?;
        }
        Ok(self.bytes)
    }
}

impl io::Write for Object {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.bytes_max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
