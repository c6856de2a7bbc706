//! Reads CSV files as texts, and answers for each line of standard input with one on standard output.
//!
//! ```text
//! > {"path": "a.csv", "options": {"delimiter": ";", "infer": false}}
//! < {"columns": ["id", "name"], "rows": [["1", null]], "bad": 0}
//! ```
//!
//! `options` are those of `[feed.csv]`. It is how `bench/csv-robustness/run differential` compares the decoder
//! with other readers, file by file, without a table for each.

use std::io::{self, BufRead, Write};
use std::sync::Arc;

use arrow::array::{Array, AsArray, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use lakefeed::config::CsvOptions;
use lakefeed::csv::{
    DecodePlan, Decoded, Decoder, Dialect, Limits, RowRules, Sample, Target, detect, read_header,
};
use lakefeed::error::{Error, ErrorKind, Result};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Request {
    path: String,
    options: CsvOptions,
}

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let answer = match answer(&line?) {
            Ok(answer) => answer,
            Err(error) => json!({ "error": error.to_string() }),
        };
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

fn answer(line: &str) -> Result<Value> {
    let invalid = |cause: &dyn std::fmt::Display| {
        Error::new(ErrorKind::Configuration, format!("no request: {cause}"))
    };
    let request: Request = serde_json::from_str(line).map_err(|cause| invalid(&cause))?;
    let bytes = std::fs::read(&request.path).map_err(|cause| invalid(&cause))?;
    let sample = Sample { bytes: &bytes, whole: true };
    let dialect = detect(sample, &request.options.dialect_options(), &[]).dialect;
    let Some(header) = read_header(sample, &dialect)? else {
        return Ok(json!({ "columns": [], "rows": [], "bad": 0 }));
    };
    let columns = header.sound()?;
    let (mut rows, mut bad) = (Vec::new(), 0);
    for decoded in decode(&bytes, &columns, &dialect)? {
        bad += decoded.rejects.len();
        rows.extend(rows_of(&decoded));
    }
    Ok(json!({ "columns": columns, "rows": rows, "bad": bad }))
}

fn decode(mut bytes: &[u8], columns: &[String], dialect: &Dialect) -> Result<Vec<Decoded>> {
    let fields = columns.iter().map(|name| Field::new(name, DataType::Utf8, true));
    let plan = DecodePlan {
        schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
        fields: (0..columns.len()).map(Target::Column).collect(),
        rescued: None,
        formats: Vec::new(),
        rules: RowRules::default(),
    };
    let mut decoder = Decoder::new(plan, dialect, Limits::default())?;
    let mut all = Vec::new();
    while let Some(decoded) = decoder.decode(&mut bytes)? {
        all.push(decoded);
    }
    while let Some(decoded) = decoder.finish()? {
        all.push(decoded);
    }
    Ok(all)
}

fn rows_of(decoded: &Decoded) -> Vec<Vec<Option<String>>> {
    let columns: Vec<_> = decoded.batch.columns().iter().map(|c| c.as_string::<i32>()).collect();
    (0..decoded.batch.num_rows())
        .map(|row| {
            let value =
                |texts: &&StringArray| texts.is_valid(row).then(|| texts.value(row).to_owned());
            columns.iter().map(value).collect()
        })
        .collect()
}
