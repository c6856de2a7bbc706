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
use crate::memory::display_bytes;

mod reference;
mod rescue;
mod values;

use values::{german, german_value_for, value_for};

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
        fields: (0..columns.len()).map(Target::Column).collect(),
        rescued: None,
        formats: Vec::new(),
        rules: RowRules::default(),
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
    (rows, decoded.iter().flat_map(|d| d.rejects.clone()).collect())
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
            DataType::Float32 => {
                Cell::Float(array.as_primitive::<Float32Type>().value(row).to_bits().into())
            }
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
        .map(|row| batch.columns().iter().map(|array| cell(row, array)).collect())
        .collect()
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
    plan.fields[13] = Target::Ignored;
    plan
}

/// A field of this text as the dialect writes it.
fn rendered(dialect: &Dialect, text: &str, quote_anyway: bool) -> String {
    let delimiter = std::str::from_utf8(&dialect.delimiter).unwrap();
    let special = |character: char| "\r\n".contains(character) || delimiter.contains(character);
    let escape = dialect.escape.map(char::from);
    let Some(quote) = dialect.quote.map(char::from) else {
        let escaped = |character: char| match escape {
            Some(escape) if special(character) || character == escape => {
                format!("{escape}{character}")
            }
            None if special(character) => "_".to_owned(),
            _ => character.to_string(),
        };
        return text.chars().map(escaped).collect();
    };
    if !quote_anyway && !text.contains(special) && !text.starts_with(quote) {
        return text.to_owned();
    }
    let escape = escape.unwrap_or(quote);
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

fn delimiters() -> impl Strategy<Value = Vec<u8>> {
    let delimiters = [",", ",", ";", "\t", "|", "\x01", " ", "||", "¬", ";=;", ";;;"];
    prop::sample::select(delimiters.to_vec()).prop_map(|text| text.as_bytes().to_vec())
}

fn line_endings() -> impl Strategy<Value = LineEnding> {
    use LineEnding::{Cr, Crlf, Lf, Mixed};
    prop_oneof![3 => Just(Lf), 1 => Just(Crlf), 1 => Just(Cr), 1 => Just(Mixed)]
}

fn dialects() -> impl Strategy<Value = Dialect> {
    (
        delimiters(),
        prop_oneof![4 => Just(Some(b'"')), 1 => Just(None), 1 => Just(Some(b'\''))],
        prop_oneof![2 => Just(None), 1 => Just(Some(b'\\'))],
        prop_oneof![3 => Just(None), 1 => Just(Some(b'#'))],
        line_endings(),
        (
            prop_oneof![2 => Just(0), 1 => 1..4_u64],
            prop_oneof![2 => Just(0), 1 => 1..4_u32],
            prop_oneof![2 => Just(0), 1 => 1..4_u64],
            proptest::bool::weighted(0.2),
        ),
        prop_oneof![2 => Just(vec![String::new()]), 1 => Just(vec!["NA".to_owned(), "1".to_owned()])],
    )
        .prop_map(|(delimiter, quote, escape, comment, line_ending, lines, null_values)| {
            let (skip_lines, header_rows, footer_lines, trailing_delimiter) = lines;
            Dialect {
                delimiter,
                quote,
                escape,
                comment,
                line_ending,
                skip_lines,
                header_rows,
                footer_lines,
                trailing_delimiter,
                null_values,
                ..Dialect::default()
            }
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

/// Rows of fields, each with whether it is quoted needlessly, and what comes after each row.
type Table = Vec<(Vec<(String, bool)>, usize)>;

fn tables(value_for: fn(usize) -> BoxedStrategy<String>) -> impl Strategy<Value = Table> {
    let field = |column| (value_for(column), proptest::bool::weighted(0.15));
    let row = (0..14).map(field).collect::<Vec<_>>();
    proptest::collection::vec((row, 0..12_usize), 0..24)
}

/// What ends a row, and is between it and the next one.
fn row_end(dialect: &Dialect, kind: usize) -> String {
    let ends: &[&str] = match dialect.line_ending {
        LineEnding::Lf => &["\n", "\r\n"],
        LineEnding::Crlf => &["\r\n"],
        LineEnding::Cr => &["\r"],
        LineEnding::Mixed => &["\n", "\r\n", "\r"],
    };
    let end = |kind: usize| ends[kind % ends.len()];
    match (kind, dialect.comment) {
        (9, _) => end(0).to_owned() + end(1) + end(2),
        (10, Some(comment)) => format!("{}{}a \"comment{}", end(0), char::from(comment), end(1)),
        _ => end(kind).to_owned(),
    }
}

fn render(dialect: &Dialect, table: &Table) -> Vec<u8> {
    let mut text = Vec::new();
    for (row, end) in table {
        let row: Vec<_> =
            row.iter().map(|(text, quoted)| rendered(dialect, text, *quoted)).collect();
        text.extend_from_slice(
            &row.join(std::str::from_utf8(&dialect.delimiter).unwrap()).into_bytes(),
        );
        if dialect.trailing_delimiter && *end != 8 {
            text.extend_from_slice(&dialect.delimiter);
        }
        text.extend_from_slice(row_end(dialect, *end).as_bytes());
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
    let expected = reference::decode(plan, dialect, limits, text);
    prop_assert_eq!(flatten(&whole), expected, "{:?}", String::from_utf8_lossy(text));
    for slices in [slices, &[1]] {
        let cut = decode(plan, dialect, limits, text, slices).unwrap();
        prop_assert_eq!(&cut, &whole);
    }
    let one_chunk = Limits { chunk_bytes: 1 << 20, ..limits };
    prop_assert_eq!(&decode(plan, dialect, one_chunk, text, &[usize::MAX]).unwrap(), &whole);
    for decoded in whole {
        prop_assert!(decoded.batch.num_rows() + decoded.rejects.len() <= limits.batch_rows);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn tables_decode_as_the_reference_says(
        table in tables(value_for),
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
    fn values_in_other_formats_decode_as_the_reference_says(
        table in tables(german_value_for),
        dialect in dialects(),
        trim in any::<bool>(),
        usual in proptest::collection::vec(proptest::bool::weighted(0.1), 14),
        limits in limits(),
    ) {
        let dialect = Dialect { trim, ..dialect };
        let format = |usual| if usual { ValueFormat::default() } else { german() };
        let formats = usual.into_iter().map(|usual| Arc::new(format(usual))).collect();
        let plan = DecodePlan { formats, ..every_type() };
        check(&plan, &dialect, limits, &render(&dialect, &table), &[7])?;
    }

    #[test]
    fn what_is_inferred_of_an_object_decodes_from_it(
        values in prop::sample::subsequence((0..13).collect::<Vec<usize>>(), 1..3)
            .prop_flat_map(|kinds| {
                let any = |kind| prop_oneof![value_for(kind), german_value_for(kind)];
                let any = prop::strategy::Union::new(kinds.into_iter().map(any));
                proptest::collection::vec(any, 1..8)
            }),
        format in prop::sample::select(vec![ValueFormat::default(), german()]),
    ) {
        let dialect = Dialect::default();
        let mut text = b"value\n".to_vec();
        for value in &values {
            text.extend_from_slice(rendered(&dialect, value, value.is_empty()).as_bytes());
            text.push(b'\n');
        }
        let formats = Formats::new(format.clone(), []);
        let mut inference = Inference::new(str::to_owned).with_formats(formats);
        inference.observe(Sample { bytes: &text, whole: true }, &dialect).unwrap();
        let schema = Arc::new(inference.finish());
        let data_type = schema.field(0).data_type().clone();
        let plan = DecodePlan { schema, fields: vec![Target::Column(0)], rescued: None, formats: vec![Arc::new(format)], rules: RowRules::default() };
        let (rows, rejects) = decode_whole(&plan, &dialect, &text);
        prop_assert_eq!(rejects, [], "{} {:?}", data_type, values);
        prop_assert_eq!(rows.len(), values.len());
        let is_code = |value: &String| {
            let number = value.trim_matches(' ').trim_start_matches('-');
            matches!(number.as_bytes(), [b'+', ..] | [b'0', b'0'..=b'9', ..])
        };
        if values.iter().any(is_code) {
            prop_assert!(!data_type.is_numeric(), "{} {:?}", data_type, values);
        }
    }

    #[test]
    fn soup_decodes_as_the_reference_says(
        tokens in proptest::collection::vec(
            prop::sample::select(vec![
                &b","[..], b",", b"\"", b"\"", b"\n", b"\r\n", b"\r", b"\\", b"1", b"abcdefghijklm",
                b"\xC3\xA9", b"\xC3", b"\0", b" ", b"\xEF\xBB\xBF", b"\"\"", b"\",\"", b"#",
            ]),
            0..120,
        ),
        dialect in dialects(),
        row_bytes_max in prop_oneof![1 => Just(1 << 20), 1 => 1..80_usize],
        field_bytes_max in prop_oneof![1 => Just(1 << 20), 1 => 1..20_usize],
        limits in limits(),
        slices in proptest::collection::vec(1..20_usize, 1..8),
    ) {
        let text: Vec<u8> = tokens
            .iter()
            .flat_map(|token| match *token {
                b"," => &dialect.delimiter[..],
                b"\"" => dialect.quote.as_slice(),
                other => other,
            })
            .copied()
            .collect();
        // A footer must not be longer than a row.
        let footer_lines = if row_bytes_max < text.len() { 0 } else { dialect.footer_lines };
        let dialect = Dialect { footer_lines, ..dialect };
        let limits = Limits { row_bytes_max, field_bytes_max, ..limits };
        let header = read_header(Sample { bytes: &text, whole: true }, &dialect);
        let names = header.and_then(|header| header.map(Header::sound).transpose());
        let columns = names.map(|names| names.map(|names| names.len())).map_err(|_| ());
        prop_assert_eq!(columns.transpose(), reference::header(&dialect, &text));
        let plan = plan(&[("a", DataType::Utf8, true), ("b", DataType::Int64, false)]);
        check(&plan, &dialect, limits, &text, &slices)?;
    }

    #[test]
    fn a_row_read_again_has_the_same_fields(
        dialect in dialects(),
        texts in proptest::collection::vec(("[a-z \"'\\\\,|;=¬\\r\\n]{0,6}", any::<bool>()), 1..6),
    ) {
        let fields: Vec<_> =
            texts.iter().map(|(text, quoted)| rendered(&dialect, text, *quoted)).collect();
        let delimiter = std::str::from_utf8(&dialect.delimiter).unwrap();
        let row = fields.join(delimiter);
        prop_assume!(!row.is_empty() && !row.starts_with('#'));
        let ending = match dialect.line_ending {
            LineEnding::Cr => "\r",
            _ => "\r\n",
        };
        let once = Dialect { skip_lines: 0, ..dialect };
        let line = row.clone() + ending;
        let mut structure = structure::Structure::new(&once, fields.len(), &Limits::default());
        structure.scan(line.as_bytes());
        let is_read = structure.rows() == 1 && structure.start_of(1) == line.len();
        prop_assume!(is_read && structure.misshapen().is_empty());
        let reader = dialect::FieldReader::new(&once);
        let stride = structure.stride();
        let rows = column::Rows {
            buffer: line.as_bytes(),
            bounds: structure.bounds(),
            stride,
            reader: &reader,
        };
        let again: Vec<_> =
            row::fields_of_row(&once, row.as_bytes()).map(|range| &row.as_bytes()[range]).collect();
        let expected: Vec<_> = (0..fields.len()).map(|position| rows.field(0, position)).collect();
        prop_assert_eq!(again, expected);
    }
}

fn two_columns() -> DecodePlan {
    plan(&[("id", DataType::Int64, true), ("text", DataType::Utf8, true)])
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
    for text in ["", "\n", "\u{FEFF}", "id,text", "id,text\r\n", "\n\nid,text\n\n"] {
        let decoded =
            decode(&two_columns(), &Dialect::default(), Limits::default(), text.as_bytes(), &[1]);
        assert_eq!(decoded.unwrap(), [], "{text:?}");
    }
}

#[test]
fn rejects_say_where_and_why() {
    let text = "id,text\n1,\"a\nb\"\nx,c\n\n2\n3,\"d\"e\n4,\"f\ng\n";
    let (rows, rejects) = decode_whole(&two_columns(), &Dialect::default(), text.as_bytes());
    assert_eq!(rows, [pair(1, "a\nb")]);
    let reject = |line, byte, column: Option<&str>, kind, reason: &str, raw: &str| {
        let position = Position { line, byte, column: column.map(Into::into) };
        Reject { complaint: Complaint { position, kind, reason: reason.into() }, raw: raw.into() }
    };
    use RejectKind::{BadValue, QuoteNeverClosed, TextAfterQuote, TooFewFields};
    let expected = [
        reject(4, 16, Some("id"), BadValue, "\"x\" is not an int64", "x,c"),
        reject(6, 21, None, TooFewFields, "expected 2 fields, found 1", "2"),
        reject(7, 23, None, TextAfterQuote, "text after a closing quote", "3,\"d\"e"),
        reject(8, 30, None, QuoteNeverClosed, "a quote is never closed", "4,\"f"),
        reject(9, 35, None, TooFewFields, "expected 2 fields, found 1", "g"),
    ];
    assert_eq!(rejects, expected);
}

#[test]
fn a_stray_quote_costs_its_line_alone() {
    let rejected = |text: &str| {
        let (rows, rejects) = decode_whole(&two_columns(), &Dialect::default(), text.as_bytes());
        let rejects: Vec<_> =
            rejects.into_iter().map(|r| (r.complaint.position.line, r.complaint.reason)).collect();
        (rows.len(), rejects)
    };
    let never = "a quote is never closed".to_owned();
    let after = "text after a closing quote".to_owned();
    assert_eq!(rejected("id,text\n1,\"a\n2,b\n3,c\n"), (2, vec![(2, never)]));
    let text = "id,text\n1,\"a\n2,b\n3,\"c\nd\"\n4,e\n";
    assert_eq!(rejected(text), (3, vec![(2, after.clone())]));
    assert_eq!(rejected("id,text\n1,\"a\"b,\"c\n2,d\n"), (1, vec![(2, after)]));
    assert_eq!(rejected("id,text\n1,a\"b\n2,\"c\nd\"\n"), (2, vec![]));
}

#[test]
fn quotes_that_make_no_sense_do_not_have_the_object_read_for_ever() {
    // Each line opens a quote that none closes, wherever one starts.
    let text = "a\",\"\n".repeat(1 << 15);
    let limits = Limits { row_bytes_max: 1 << 12, ..Limits::default() };
    let error = decode(&two_columns(), &Dialect::default(), limits, text.as_bytes(), &[1 << 10])
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SourceInvalid);
    assert!(error.position().is_some_and(|position| position.line > 8), "{error}");
}

#[test]
fn a_quoted_null_is_text_in_text_alone() {
    let (rows, _) = decode_whole(&two_columns(), &Dialect::default(), b"id,text\n\"\",\"\"\n,\n");
    assert_eq!(rows, [vec![Cell::Null, Cell::Text(vec![])], vec![Cell::Null, Cell::Null]]);
}

#[test]
fn a_row_too_long_is_one_bad_row() {
    let limits = Limits { row_bytes_max: 10, field_bytes_max: 8, ..Limits::default() };
    let text = b"id,text\n1,12345678\n2,123456789\n3,123456789012\n4,\"a\nbcdefg\"\n5,e\n";
    for chunk_bytes in [3, 7, 1 << 10] {
        let limits = Limits { chunk_bytes, ..limits };
        let decoded = decode(&two_columns(), &Dialect::default(), limits, text, &[5]).unwrap();
        let (rows, rejects) = flatten(&decoded);
        assert_eq!(rows, [pair(1, "12345678"), pair(5, "e")]);
        let rejects: Vec<_> = rejects
            .iter()
            .map(|Reject { complaint, raw }| {
                (complaint.position.line, str::from_utf8(raw).unwrap(), &*complaint.reason)
            })
            .collect();
        let expected = [
            (3, "2,12345678", "a row is longer than 10 B"),
            (4, "3,12345678", "a row is longer than 10 B"),
            (5, "4,\"a", "a row runs on for more than 10 B; is a quote never closed?"),
            (6, "bcdefg\"", "expected 2 fields, found 1"),
        ];
        assert_eq!(rejects, expected);
    }
    let limits = Limits { row_bytes_max: 100, ..limits };
    let decoded = decode(&two_columns(), &Dialect::default(), limits, text, &[5]).unwrap();
    let reasons: Vec<_> = flatten(&decoded).1.into_iter().map(|r| r.complaint.reason).collect();
    assert_eq!(reasons, ["a field is longer than 8 B"; 3]);
}

#[test]
fn a_row_without_end_is_not_held() {
    let limits = Limits { row_bytes_max: 1 << 16, chunk_bytes: 1 << 12, ..Limits::default() };
    let comments = Dialect { comment: Some(b'#'), ..Dialect::default() };
    for filler in [b'x', b',', b'"', b'#'] {
        let mut decoder = Decoder::new(two_columns(), &comments, limits).unwrap();
        let filler = [filler; 1 << 12];
        for _ in 0..100 {
            while decoder.decode(&mut &filler[..]).unwrap().is_some() {}
            assert!(decoder.held_bytes() <= (1 << 16) + 3 * (1 << 12), "{}", decoder.held_bytes());
        }
    }
}

#[test]
fn a_footer_is_held_back_as_long_as_it_may_be_one() {
    let limits = Limits { row_bytes_max: 1 << 16, chunk_bytes: 1 << 12, ..Limits::default() };
    let dialect = Dialect { footer_lines: 2, ..Dialect::default() };
    let mut decoder = Decoder::new(two_columns(), &dialect, limits).unwrap();
    assert_eq!(decoder.decode(&mut &b"id,text\n1,\"a\nb\nTotal"[..]).unwrap(), None);
    let decoded = decoder.finish().unwrap().unwrap();
    assert_eq!(decoded.rejects[0].complaint.reason, "a quote is never closed");
    let mut decoder = Decoder::new(two_columns(), &dialect, limits).unwrap();
    let refused = (0..100).position(|_| decoder.decode(&mut &[b'x'; 1 << 12][..]).is_err());
    assert!(refused.is_some_and(|slices| slices <= 18), "{refused:?}");
}

#[test]
fn plans_that_cannot_work_are_refused() {
    let refusal =
        |plan: DecodePlan| Decoder::new(plan, &Dialect::default(), Limits::default()).unwrap_err();
    let list = plan(&[("tags", DataType::LargeUtf8, true)]);
    assert!(refusal(list).message().contains("LargeUtf8"));
    let mut required = plan(&[("id", DataType::Int64, false)]);
    required.fields[0] = Target::Ignored;
    assert_eq!(refusal(required).kind(), ErrorKind::SchemaMismatch);
    let mut twice = two_columns();
    twice.fields[1] = Target::Column(0);
    assert_eq!(refusal(twice).kind(), ErrorKind::Internal);
    let limits = Limits { row_bytes_max: usize::MAX, ..Limits::default() };
    Decoder::new(two_columns(), &Dialect::default(), limits).unwrap_err();
}

#[test]
fn rows_without_wanted_columns_are_counted() {
    let fields = vec![Target::Ignored, Target::Ignored];
    let plan = DecodePlan {
        schema: Arc::new(Schema::empty()),
        fields,
        rescued: None,
        formats: Vec::new(),
        rules: RowRules::default(),
    };
    let text = b"a,b\n1,2\n3\n4,5\n";
    let decoded = decode(&plan, &Dialect::default(), Limits::default(), text, &[4]).unwrap();
    assert_eq!((decoded[0].batch.num_rows(), decoded[0].rejects.len()), (2, 1));
}
