//! The decoder against a reference that reads byte by byte and value by value.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, Float32Type, Float64Type, Int8Type, Int64Type,
    Schema, TimeUnit, TimestampMicrosecondType, UInt64Type,
};
use chrono::{Datelike, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime};
use proptest::prelude::*;

use super::*;
use crate::error::{ErrorKind, Position};

/// One value, comparable.
#[derive(Debug, Clone, PartialEq)]
enum Cell {
    Null,
    Boolean(bool),
    Integer(i128),
    Float(u64),
    Text(Vec<u8>),
}

type Rows = Vec<Vec<Cell>>;

fn plan(columns: &[(&str, DataType, bool)]) -> DecodePlan {
    let field = |(name, data_type, nullable): &(&str, DataType, bool)| {
        Field::new(*name, data_type.clone(), *nullable)
    };
    DecodePlan {
        schema: Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>())),
        fields: (0..columns.len()).map(Some).collect(),
    }
}

/// Decodes slices of these lengths, over and over.
fn decode(
    plan: &DecodePlan,
    dialect: &Dialect,
    limits: Limits,
    mut bytes: &[u8],
    slices: &[usize],
) -> crate::error::Result<Vec<Decoded>> {
    let mut decoder = Decoder::new(plan.clone(), dialect, limits)?;
    let mut all = Vec::new();
    for length in slices.iter().cycle() {
        let (mut slice, rest) = bytes.split_at((*length).min(bytes.len()));
        bytes = rest;
        while let Some(decoded) = decoder.decode(&mut slice)? {
            all.push(decoded);
        }
        assert!(slice.is_empty());
        if bytes.is_empty() {
            break;
        }
    }
    while let Some(decoded) = decoder.finish()? {
        all.push(decoded);
    }
    Ok(all)
}

fn decode_whole(plan: &DecodePlan, dialect: &Dialect, text: &[u8]) -> (Rows, Vec<Reject>) {
    flatten(&decode(plan, dialect, Limits::default(), text, &[usize::MAX]).unwrap())
}

fn flatten(decoded: &[Decoded]) -> (Rows, Vec<Reject>) {
    let rows = decoded.iter().flat_map(|d| cells(&d.batch)).collect();
    (
        rows,
        decoded.iter().flat_map(|d| d.rejects.clone()).collect(),
    )
}

fn cells(batch: &RecordBatch) -> Rows {
    let cell = |row: usize, array: &dyn Array| {
        if array.is_null(row) {
            return Cell::Null;
        }
        let integer = |value: i64| Cell::Integer(value.into());
        match array.data_type() {
            DataType::Boolean => Cell::Boolean(array.as_boolean().value(row)),
            DataType::Int8 => integer(array.as_primitive::<Int8Type>().value(row).into()),
            DataType::Int64 => integer(array.as_primitive::<Int64Type>().value(row)),
            DataType::UInt64 => Cell::Integer(array.as_primitive::<UInt64Type>().value(row).into()),
            DataType::Float32 => Cell::Float(
                array
                    .as_primitive::<Float32Type>()
                    .value(row)
                    .to_bits()
                    .into(),
            ),
            DataType::Float64 => {
                Cell::Float(array.as_primitive::<Float64Type>().value(row).to_bits())
            }
            DataType::Decimal128(..) => {
                Cell::Integer(array.as_primitive::<Decimal128Type>().value(row))
            }
            DataType::Date32 => integer(array.as_primitive::<Date32Type>().value(row).into()),
            DataType::Timestamp(..) => {
                integer(array.as_primitive::<TimestampMicrosecondType>().value(row))
            }
            DataType::Utf8 => Cell::Text(array.as_string::<i32>().value(row).into()),
            DataType::Binary => Cell::Text(array.as_binary::<i32>().value(row).into()),
            other => panic!("{other} is not tested"),
        }
    };
    (0..batch.num_rows())
        .map(|row| {
            batch
                .columns()
                .iter()
                .map(|array| cell(row, array))
                .collect()
        })
        .collect()
}

mod reference {
    use super::*;

    #[derive(Default)]
    struct Row {
        line: u64,
        byte: usize,
        /// Text, and whether it was quoted.
        fields: Vec<(Vec<u8>, bool)>,
        shape: Option<String>,
        raw: Vec<u8>,
    }

    pub(super) fn decode(
        plan: &DecodePlan,
        dialect: &Dialect,
        bytes: &[u8],
    ) -> (Rows, Vec<Reject>) {
        let (mut good, mut rejects) = (Vec::new(), Vec::new());
        for row in rows(dialect, bytes)
            .into_iter()
            .skip(usize::from(dialect.header))
        {
            match judge(plan, dialect, &row) {
                Ok(cells) => good.push(cells),
                Err((column, reason)) => rejects.push(Reject {
                    position: Position {
                        line: row.line,
                        byte: row.byte as u64,
                        column,
                    },
                    reason,
                    raw: String::from_utf8_lossy(&row.raw).into_owned(),
                }),
            }
        }
        (good, rejects)
    }

    fn rows(dialect: &Dialect, bytes: &[u8]) -> Vec<Row> {
        let mut at = if bytes.starts_with(b"\xEF\xBB\xBF") {
            3
        } else {
            0
        };
        let mut rows = Vec::new();
        while at < bytes.len() {
            let (row, next) = row(dialect, bytes, at);
            if !row.raw.is_empty() {
                rows.push(row);
            }
            at = next;
        }
        rows
    }

    fn line_of(bytes: &[u8], at: usize) -> u64 {
        1 + bytes[..at].iter().filter(|byte| **byte == b'\n').count() as u64
    }

    /// The length of the line end at `at`; the end of the input is one of length 0.
    fn line_end(bytes: &[u8], at: usize) -> Option<usize> {
        match &bytes[at..] {
            [] => Some(0),
            [b'\n', ..] => Some(1),
            [b'\r', b'\n', ..] => Some(2),
            [b'\r'] => Some(1),
            _ => None,
        }
    }

    /// The row at `start`, and where the next one starts.
    fn row(dialect: &Dialect, bytes: &[u8], start: usize) -> (Row, usize) {
        let mut row = Row {
            line: line_of(bytes, start),
            byte: start,
            ..Row::default()
        };
        let mut at = start;
        loop {
            let (mut text, mut quoted) = (Vec::new(), false);
            if at < bytes.len() && Some(bytes[at]) == dialect.quote {
                quoted = true;
                match quoted_text(dialect, bytes, at) {
                    Some((inner, after)) => (text, at) = (inner, after),
                    None => {
                        row.line = line_of(bytes, at);
                        row.shape = Some("a quote is never closed".to_owned());
                        row.raw = bytes[start..].to_vec();
                        return (row, bytes.len());
                    }
                }
            }
            let after_quote = at;
            while line_end(bytes, at).is_none() && bytes[at] != dialect.delimiter {
                text.push(bytes[at]);
                at += 1;
            }
            if quoted && at > after_quote {
                row.shape = Some("text after a closing quote".to_owned());
            }
            row.fields.push((text, quoted));
            if let Some(length) = line_end(bytes, at) {
                row.raw = bytes[start..at].to_vec();
                return (row, at + length);
            }
            at += 1;
        }
    }

    /// What is within the quotes that open at `at`, and what comes after them.
    fn quoted_text(dialect: &Dialect, bytes: &[u8], mut at: usize) -> Option<(Vec<u8>, usize)> {
        let quote = dialect.quote;
        let mut text = Vec::new();
        loop {
            at += 1;
            let byte = *bytes.get(at)?;
            if dialect.escape.is_some() && Some(byte) == dialect.escape {
                at += 1;
                text.push(*bytes.get(at)?);
            } else if Some(byte) != quote {
                text.push(byte);
            } else if dialect.escape.is_none() && bytes.get(at + 1).copied() == quote {
                at += 1;
                text.push(byte);
            } else {
                return Some((text, at + 1));
            }
        }
    }

    type Verdict<T> = Result<T, (Option<String>, String)>;

    fn judge(plan: &DecodePlan, dialect: &Dialect, row: &Row) -> Verdict<Vec<Cell>> {
        if let Some(shape) = &row.shape {
            return Err((None, shape.clone()));
        }
        let (expected, found) = (plan.fields.len(), row.fields.len());
        if expected != found {
            return Err((None, format!("expected {expected} fields, found {found}")));
        }
        for ((text, _), column) in row.fields.iter().zip(&plan.fields) {
            let column = column.map(|column| plan.schema.field(column).name().clone());
            if text.contains(&0) {
                return Err((column, "a NUL byte".to_owned()));
            }
            if std::str::from_utf8(text).is_err() {
                return Err((column, "not UTF-8".to_owned()));
            }
        }
        let mut cells = vec![Cell::Null; plan.schema.fields().len()];
        for ((text, quoted), column) in row.fields.iter().zip(&plan.fields) {
            let Some(column) = *column else { continue };
            let field = plan.schema.field(column);
            let text = std::str::from_utf8(text).unwrap();
            cells[column] = cell(dialect, field, text, *quoted)
                .map_err(|reason| (Some(field.name().clone()), reason))?;
        }
        Ok(cells)
    }

    fn cell(dialect: &Dialect, field: &Field, text: &str, quoted: bool) -> Result<Cell, String> {
        let textual = matches!(field.data_type(), DataType::Utf8 | DataType::Binary);
        if dialect.null_values.iter().any(|null| null == text) && !(quoted && textual) {
            return if field.is_nullable() {
                Ok(Cell::Null)
            } else {
                Err("null in a column that must not be null".to_owned())
            };
        }
        let value = text.trim_matches(' ');
        let (cell, name) = match field.data_type() {
            DataType::Boolean => (boolean(value), "a boolean"),
            DataType::Int8 => (integer(value, i8::MIN.into(), i8::MAX.into()), "an int8"),
            DataType::Int64 => (integer(value, i64::MIN.into(), i64::MAX.into()), "an int64"),
            DataType::UInt64 => (integer(value, 0, u64::MAX.into()), "a uint64"),
            DataType::Float32 => (
                value
                    .parse()
                    .ok()
                    .map(|f: f32| Cell::Float(f.to_bits().into())),
                "a float32",
            ),
            DataType::Float64 => (
                value.parse().ok().map(|f: f64| Cell::Float(f.to_bits())),
                "a float64",
            ),
            DataType::Decimal128(7, 2) => (decimal(value), "a decimal(7,2)"),
            DataType::Date32 => {
                let days = |date: NaiveDate| i128::from(date.num_days_from_ce() - 719_163);
                (date(value).map(|date| Cell::Integer(days(date))), "a date")
            }
            DataType::Timestamp(_, None) => {
                let local = timestamp(value).filter(|(_, zoned)| !zoned);
                (
                    local.map(|(micros, _)| micros),
                    "a timestamp without an offset",
                )
            }
            DataType::Timestamp(..) => (timestamp(value).map(|(micros, _)| micros), "a timestamp"),
            _ => (Some(Cell::Text(text.as_bytes().to_vec())), "text"),
        };
        let start: String = text.chars().take(64).collect();
        let rest = if start.len() < text.len() { "…" } else { "" };
        cell.ok_or_else(|| format!("{start:?}{rest} is not {name}"))
    }

    fn boolean(value: &str) -> Option<Cell> {
        match value.to_ascii_lowercase().as_str() {
            "true" | "t" | "yes" | "y" | "1" => Some(Cell::Boolean(true)),
            "false" | "f" | "no" | "n" | "0" => Some(Cell::Boolean(false)),
            _ => None,
        }
    }

    fn integer(value: &str, least: i128, most: i128) -> Option<Cell> {
        let value = value.parse().ok()?;
        (least..=most)
            .contains(&value)
            .then_some(Cell::Integer(value))
    }

    fn decimal(value: &str) -> Option<Cell> {
        let magnitude = value.strip_prefix(['+', '-']).unwrap_or(value);
        let (whole, fraction) = magnitude.split_once('.').unwrap_or((magnitude, ""));
        let is_number = |text: &str| text.chars().all(|c| c.is_ascii_digit());
        if magnitude.len() == usize::from(magnitude.contains('.'))
            || !is_number(whole)
            || !is_number(fraction)
        {
            return None;
        }
        let fraction = format!("{:0<2}", fraction.trim_end_matches('0'));
        let unscaled: i128 = format!("{whole}{fraction}").parse().ok()?;
        let negative = value.starts_with('-');
        (fraction.len() == 2 && unscaled < 10_000_000).then_some(Cell::Integer(if negative {
            -unscaled
        } else {
            unscaled
        }))
    }

    fn date(value: &str) -> Option<NaiveDate> {
        NaiveDate::parse_from_str(value, "%Y-%m-%d")
            .ok()
            .filter(|date| date.to_string() == value && (1..=9999).contains(&date.year()))
    }

    fn timestamp(value: &str) -> Option<(Cell, bool)> {
        let (day, rest) = (value.get(..10)?, value.get(10..)?);
        let time = match rest.strip_prefix(['T', ' ']) {
            Some(time) => time,
            None if rest.is_empty() => "00:00",
            None => return None,
        };
        let (time, zone) = time.split_at(time.find(['Z', '+', '-']).unwrap_or(time.len()));
        let (seconds, fraction) = time.split_once('.').unwrap_or((time, "0"));
        let fraction = if time.contains('.') && seconds.len() != 8 {
            return None;
        } else {
            fraction
        };
        let format = if seconds.len() == 5 {
            "%H:%M"
        } else {
            "%H:%M:%S"
        };
        let clock = NaiveTime::parse_from_str(seconds, format).ok()?;
        if clock.format(format).to_string() != seconds || seconds.ends_with(":60") {
            return None;
        }
        let digits = format!("{:0<6}", fraction.trim_end_matches('0'));
        if fraction.is_empty() || digits.len() > 6 || !digits.chars().all(|c| c.is_ascii_digit()) {
            return None;
        }
        let offset = match zone {
            "" | "Z" => FixedOffset::east_opt(0)?,
            _ => {
                let full = if zone.len() == 3 {
                    format!("{zone}:00")
                } else {
                    zone.to_owned()
                };
                let offset: FixedOffset = full.parse().ok()?;
                if full.replace("-00:00", "+00:00") != offset.to_string() {
                    return None;
                }
                offset
            }
        };
        let local = NaiveDateTime::new(date(day)?, clock)
            .and_utc()
            .timestamp_micros();
        let micros = local - i64::from(offset.local_minus_utc()) * 1_000_000;
        let micros = micros + digits.parse::<i64>().ok()?;
        Some((Cell::Integer(micros.into()), !zone.is_empty()))
    }
}

fn every_type() -> DecodePlan {
    let time =
        |zone: Option<&str>| DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into));
    let mut plan = plan(&[
        ("bool", DataType::Boolean, true),
        ("int8", DataType::Int8, true),
        ("int64", DataType::Int64, false),
        ("uint64", DataType::UInt64, true),
        ("float32", DataType::Float32, true),
        ("float64", DataType::Float64, true),
        ("decimal", DataType::Decimal128(7, 2), true),
        ("date", DataType::Date32, true),
        ("local", time(None), true),
        ("utc", time(Some("UTC")), true),
        ("text", DataType::Utf8, true),
        ("required", DataType::Utf8, false),
        ("bytes", DataType::Binary, true),
        ("absent", DataType::Int64, true),
    ]);
    plan.fields[13] = None;
    plan
}

/// Mostly right values for a column of [`every_type`], and some that are not.
fn value_for(column: usize) -> BoxedStrategy<String> {
    let right = match column {
        0 => "(true|FALSE|t|No|1|0)",
        1 => "[+-]?[0-9]{1,2}|-128|127|128",
        2 => "[+-]?[0-9]{1,19}|-9223372036854775808",
        3 => "[0-9]{1,20}|18446744073709551615|-0",
        4 | 5 => "[+-]?[0-9]{1,18}(\\.[0-9]{0,18})?(e[+-]?[0-9]{1,3})?|\\.[0-9]{1,5}|NaN|-inf",
        6 => "[+-]?[0-9]{1,5}(\\.[0-9]{0,2}0{0,2})?|0{1,40}1|[0-9]{1,3}\\.[0-9]{1,20}",
        7 => "[0-9]{4}-(0[1-9]|1[0-2])-([0-2][0-9]|3[01])",
        8 | 9 => {
            "(19|20)[0-9]{2}-0[1-9]-[0-2][0-9]([T ][0-2][0-9]:[0-5][0-9](:[0-6][0-9](\\.[0-9]{1,6}0{0,3})?)?)?(Z|[+-][0-2][0-9](:[0-5][0-9])?)?"
        }
        _ => "[a-z \"\\\\é☃,\r\n]{0,12}",
    };
    prop_oneof![
        40 => right,
        2 => Just(String::new()),
        1 => Just("NA".to_owned()),
        1 => "[0-9a-zA-Z.+ :\\-]{0,6}",
        1 => right.prop_map(|text| format!(" {text} ")),
    ]
    .boxed()
}

/// A field of this text as the dialect writes it.
fn rendered(dialect: &Dialect, text: &str, quote_anyway: bool) -> String {
    let special = ['\r', '\n', char::from(dialect.delimiter)];
    let Some(quote) = dialect.quote.map(char::from) else {
        return text.replace(special, "_");
    };
    if !quote_anyway && !text.contains(special) && !text.starts_with(quote) {
        return text.to_owned();
    }
    let escape = dialect.escape.map_or(quote, char::from);
    let mut field = String::from(quote);
    for character in text.chars() {
        if character == quote || character == escape {
            field.push(escape);
        }
        field.push(character);
    }
    field.push(quote);
    field
}

fn dialects() -> impl Strategy<Value = Dialect> {
    (
        prop_oneof![Just(b','), Just(b';'), Just(b'\t')],
        prop_oneof![4 => Just(Some(b'"')), 1 => Just(None), 1 => Just(Some(b'\''))],
        prop_oneof![2 => Just(None), 1 => Just(Some(b'\\'))],
        prop_oneof![2 => Just(vec![String::new()]), 1 => Just(vec!["NA".to_owned(), "1".to_owned()])],
    )
        .prop_map(|(delimiter, quote, escape, null_values)| Dialect {
            delimiter,
            quote,
            escape,
            header: false,
            null_values,
        })
}

fn limits() -> impl Strategy<Value = Limits> {
    (1..20_usize, 1..2000_usize, 1..300_usize).prop_map(
        |(batch_rows, batch_bytes_max, chunk_bytes)| Limits {
            batch_rows,
            batch_bytes_max,
            chunk_bytes,
            ..Limits::default()
        },
    )
}

/// Rows of fields, each with whether it is quoted needlessly, and each row's line end.
fn tables() -> impl Strategy<Value = Vec<(Vec<(String, bool)>, &'static str)>> {
    let field = |column| (value_for(column), proptest::bool::weighted(0.15));
    let row = (0..14).map(field).collect::<Vec<_>>();
    let end = prop_oneof![5 => Just("\n"), 3 => Just("\r\n"), 1 => Just("\n\r\n\n")];
    proptest::collection::vec((row, end), 0..24)
}

fn render(dialect: &Dialect, table: &[(Vec<(String, bool)>, &str)]) -> Vec<u8> {
    let mut text = Vec::new();
    for (row, end) in table {
        let row: Vec<_> = row
            .iter()
            .map(|(text, quoted)| rendered(dialect, text, *quoted))
            .collect();
        text.extend_from_slice(
            row.join(&char::from(dialect.delimiter).to_string())
                .as_bytes(),
        );
        text.extend_from_slice(end.as_bytes());
    }
    text
}

/// However it is cut, the text gives what the reference gives.
fn check(
    plan: &DecodePlan,
    dialect: &Dialect,
    limits: Limits,
    text: &[u8],
    slices: &[usize],
) -> Result<(), TestCaseError> {
    let whole = decode(plan, dialect, limits, text, &[usize::MAX]).unwrap();
    let expected = reference::decode(plan, dialect, text);
    prop_assert_eq!(
        flatten(&whole),
        expected,
        "{:?}",
        String::from_utf8_lossy(text)
    );
    for slices in [slices, &[1]] {
        let cut = decode(plan, dialect, limits, text, slices).unwrap();
        prop_assert_eq!(&cut, &whole);
    }
    let one_chunk = Limits {
        chunk_bytes: 1 << 20,
        ..limits
    };
    prop_assert_eq!(
        &decode(plan, dialect, one_chunk, text, &[usize::MAX]).unwrap(),
        &whole
    );
    for decoded in whole {
        prop_assert!(decoded.batch.num_rows() + decoded.rejects.len() <= limits.batch_rows);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn tables_decode_as_the_reference_says(
        table in tables(),
        dialect in dialects(),
        limits in limits(),
        slices in proptest::collection::vec(1..200_usize, 1..8),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut text = render(&dialect, &table);
        for (index, byte) in damage.iter().take(text.len()) {
            let index = index.index(text.len());
            text[index] = *byte;
        }
        check(&every_type(), &dialect, limits, &text, &slices)?;
    }

    #[test]
    fn soup_decodes_as_the_reference_says(
        tokens in proptest::collection::vec(
            prop::sample::select(vec![
                &b","[..], b",", b"\"", b"\"", b"\n", b"\r\n", b"\r", b"\\", b"1", b"abcdefghijklm",
                b"\xC3\xA9", b"\xC3", b"\0", b" ", b"\xEF\xBB\xBF", b"\"\"", b"\",\"",
            ]),
            0..120,
        ),
        escape in prop_oneof![Just(None), Just(Some(b'\\'))],
        limits in limits(),
        slices in proptest::collection::vec(1..20_usize, 1..8),
    ) {
        let dialect = Dialect { escape, header: false, ..Dialect::default() };
        let plan = plan(&[("a", DataType::Utf8, true), ("b", DataType::Int64, false)]);
        check(&plan, &dialect, limits, &tokens.concat(), &slices)?;
    }
}

fn two_columns() -> DecodePlan {
    plan(&[
        ("id", DataType::Int64, true),
        ("text", DataType::Utf8, true),
    ])
}

fn pair(id: i128, text: &str) -> Vec<Cell> {
    vec![Cell::Integer(id), Cell::Text(text.into())]
}

#[test]
fn line_ends_and_the_byte_order_mark() {
    let text = b"\xEF\xBB\xBFid,text\r\n1,a\r\n\r\n2,b\n\n3,c\r";
    let (rows, rejects) = decode_whole(&two_columns(), &Dialect::default(), text);
    assert_eq!(rows, [pair(1, "a"), pair(2, "b"), pair(3, "c")]);
    assert_eq!(rejects, []);
}

#[test]
fn nothing_comes_of_nothing() {
    for text in [
        "",
        "\n",
        "\u{FEFF}",
        "id,text",
        "id,text\r\n",
        "\n\nid,text\n\n",
    ] {
        let decoded = decode(
            &two_columns(),
            &Dialect::default(),
            Limits::default(),
            text.as_bytes(),
            &[1],
        );
        assert_eq!(decoded.unwrap(), [], "{text:?}");
    }
}

#[test]
fn rejects_say_where_and_why() {
    let text = "id,text\n1,\"a\nb\"\nx,c\n\n2\n3,\"d\"e\n4,\"f\ng\n";
    let (rows, rejects) = decode_whole(&two_columns(), &Dialect::default(), text.as_bytes());
    assert_eq!(rows, [pair(1, "a\nb")]);
    let reject = |line, byte, column: Option<&str>, reason: &str, raw: &str| Reject {
        position: Position {
            line,
            byte,
            column: column.map(Into::into),
        },
        reason: reason.into(),
        raw: raw.into(),
    };
    let expected = [
        reject(4, 16, Some("id"), "\"x\" is not an int64", "x,c"),
        reject(6, 21, None, "expected 2 fields, found 1", "2"),
        reject(7, 23, None, "text after a closing quote", "3,\"d\"e"),
        reject(8, 30, None, "a quote is never closed", "4,\"f\ng\n"),
    ];
    assert_eq!(rejects, expected);
}

#[test]
fn a_quote_never_closed_is_reported_at_its_line() {
    let text = "id,text\n1,a\n\"2\n3\",\"b\nc\n";
    let (_, rejects) = decode_whole(&two_columns(), &Dialect::default(), text.as_bytes());
    assert_eq!(
        rejects[0].position,
        Position {
            line: 4,
            byte: 12,
            column: None
        }
    );
}

#[test]
fn a_quoted_null_is_text_in_text_alone() {
    let (rows, _) = decode_whole(
        &two_columns(),
        &Dialect::default(),
        b"id,text\n\"\",\"\"\n,\n",
    );
    assert_eq!(
        rows,
        [
            vec![Cell::Null, Cell::Text(vec![])],
            vec![Cell::Null, Cell::Null]
        ]
    );
}

#[test]
fn a_row_too_long_ends_the_object_after_the_rows_before_it() {
    let limits = Limits {
        row_bytes_max: 10,
        chunk_bytes: 7,
        ..Limits::default()
    };
    let text = b"id,text\n1,12345678\n2,123456789\n3,a\n";
    for chunk_bytes in [3, 7, 1 << 10] {
        let limits = Limits {
            chunk_bytes,
            ..limits
        };
        let mut decoder = Decoder::new(two_columns(), &Dialect::default(), limits).unwrap();
        let mut slice = &text[..];
        let mut decoded = decoder.decode(&mut slice).unwrap();
        if decoded.is_none() {
            decoded = decoder.finish().unwrap();
        }
        assert_eq!(cells(&decoded.unwrap().batch), [pair(1, "12345678")]);
        let error = decoder.decode(&mut slice).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SourceInvalid);
        assert_eq!(
            error.position(),
            Some(&Position {
                line: 3,
                byte: 19,
                column: None
            })
        );
    }
}

#[test]
fn a_row_without_end_is_not_held() {
    let limits = Limits {
        row_bytes_max: 1 << 16,
        chunk_bytes: 1 << 12,
        ..Limits::default()
    };
    for filler in [b'x', b',', b'"'] {
        let mut decoder = Decoder::new(two_columns(), &Dialect::default(), limits).unwrap();
        let filler = [filler; 1 << 12];
        let refused = (0..100)
            .position(|_| decoder.decode(&mut &filler[..]).is_err())
            .unwrap();
        assert!(refused <= 17, "{refused}");
        assert!(
            decoder.held_bytes() <= (1 << 16) + 3 * (1 << 12),
            "{}",
            decoder.held_bytes()
        );
    }
}

#[test]
fn a_header_that_does_not_fit_is_an_error() {
    for text in ["id\n1,a\n", "id,\"text\n1,a\n", "id,\"text\"s\n"] {
        let text = text.as_bytes();
        let error = decode(
            &two_columns(),
            &Dialect::default(),
            Limits::default(),
            text,
            &[3],
        )
        .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SourceInvalid);
        assert_eq!(error.position().map(|position| position.line), Some(1));
    }
}

#[test]
fn plans_that_cannot_work_are_refused() {
    let refusal =
        |plan: DecodePlan| Decoder::new(plan, &Dialect::default(), Limits::default()).unwrap_err();
    let list = plan(&[("tags", DataType::LargeUtf8, true)]);
    assert!(refusal(list).message().contains("LargeUtf8"));
    let mut required = plan(&[("id", DataType::Int64, false)]);
    required.fields[0] = None;
    assert_eq!(refusal(required).kind(), ErrorKind::SchemaMismatch);
    let mut twice = two_columns();
    twice.fields[1] = Some(0);
    assert_eq!(refusal(twice).kind(), ErrorKind::Internal);
    let limits = Limits {
        row_bytes_max: usize::MAX,
        ..Limits::default()
    };
    Decoder::new(two_columns(), &Dialect::default(), limits).unwrap_err();
}

#[test]
fn rows_without_wanted_columns_are_counted() {
    let plan = DecodePlan {
        schema: Arc::new(Schema::empty()),
        fields: vec![None, None],
    };
    let text = b"a,b\n1,2\n3\n4,5\n";
    let decoded = decode(&plan, &Dialect::default(), Limits::default(), text, &[4]).unwrap();
    assert_eq!(
        (decoded[0].batch.num_rows(), decoded[0].rejects.len()),
        (2, 1)
    );
}
