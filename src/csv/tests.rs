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

mod reference;

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
        formats: Vec::new(),
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
        6 => {
            "[+-]?[0-9]{1,5}(\\.[0-9]{0,2}0{0,2})?|0{1,40}1|[0-9]{1,3}\\.[0-9]{1,20}|[0-9]{0,4}\\.?[0-9]{0,4}e-?[0-9]{1,2}"
        }
        7 => "[0-9]{4}-(0[1-9]|1[0-2])-([0-2][0-9]|3[01])",
        8 | 9 => {
            "(19|20)[0-9]{2}-0[1-9]-[0-2][0-9]([T ][0-2][0-9]:[0-5][0-9](:[0-6][0-9]([.,][0-9]{1,6}0{0,3})?)?)?( ?(Z|UTC|[+-][0-2][0-9](:?[0-5][0-9])?))?"
        }
        _ => "[a-z \"\\\\é☃,\r\n]{0,12}",
    };
    values_like(right)
}

/// As [`value_for`], as a German would write them.
fn german_value_for(column: usize) -> BoxedStrategy<String> {
    let number = "[+-]?[0-9]{1,3}(\\.[0-9]{3}){0,2}(,[0-9]{0,4})?";
    values_like(match column {
        0 => "(ja|NEIN|Nein|wahr|1)",
        1..=3 => {
            "[+-]?[0-9]{1,3}(\\.[0-9]{3}){0,6}|[0-9]{1,19}|[0-9]{1,2}(\\.[0-9]{2}){1,2}\\.[0-9]{3}"
        }
        4 | 5 => {
            "[+-]?[0-9]{1,3}(\\.[0-9]{3}){0,2}(,[0-9]{0,18})?|[0-9]{1,9},5e-?[0-9]{1,3}|NaN|-inf"
        }
        6 => number,
        7 => "([0-2][0-9]|3[01])\\.(0[1-9]|1[0-2])\\.[0-9]{4}|[1-9]\\.[1-9]\\.[12][0-9]{3}",
        8 | 9 => {
            "[0-2][0-9]\\.0[1-9]\\.(19|20)[0-9]{2}( [0-2][0-9]:[0-5][0-9]:[0-6][0-9](\\.[0-9]{1,7})?)?"
        }
        12 => "([0-9a-fA-F]{2}){0,6}|[0-9a-g]{0,5}",
        _ => " ?[a-z \"\\\\é☃,\r\n]{0,12}",
    })
}

fn german() -> ValueFormat {
    let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    ValueFormat {
        null_values: Some(list(&["", "-"])),
        decimal_separator: ',',
        thousands_separator: Some('.'),
        round_decimals: true,
        true_values: list(&["ja", "wahr"]),
        false_values: list(&["nein"]),
        date_formats: vec!["%d.%m.%Y".parse().unwrap()],
        timestamp_formats: vec!["%d.%m.%Y %H:%M:%S%.f".parse().unwrap()],
        binary_format: BinaryFormat::Hex,
    }
}

/// Mostly `right` ones, some with spaces around them, some null, and some of anything.
fn values_like(right: &'static str) -> BoxedStrategy<String> {
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
    let special = ['\r', '\n', char::from(dialect.delimiter[0])];
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
            delimiter: vec![delimiter],
            quote,
            escape,
            header_rows: 0,
            null_values,
            ..Dialect::default()
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
fn tables(
    value_for: fn(usize) -> BoxedStrategy<String>,
) -> impl Strategy<Value = Vec<(Vec<(String, bool)>, &'static str)>> {
    let field = |column| (value_for(column), proptest::bool::weighted(0.15));
    let row = (0..14).map(field).collect::<Vec<_>>();
    let end = prop_oneof![5 => Just("\n"), 3 => Just("\r\n"), 1 => Just("\n\r\n\n")];
    proptest::collection::vec((row, end), 0..24)
}

fn render(dialect: &Dialect, table: &[(Vec<(String, bool)>, &str)]) -> Vec<u8> {
    let mut text = Vec::new();
    for (row, end) in table {
        let row: Vec<_> =
            row.iter().map(|(text, quoted)| rendered(dialect, text, *quoted)).collect();
        text.extend_from_slice(row.join(&char::from(dialect.delimiter[0]).to_string()).as_bytes());
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
        let mut inference = Inference::new(dialect.clone(), str::to_owned).with_formats(formats);
        inference.observe(Sample { bytes: &text, whole: true }).unwrap();
        let schema = Arc::new(inference.finish());
        let data_type = schema.field(0).data_type().clone();
        let plan = DecodePlan { schema, fields: vec![Some(0)], formats: vec![Arc::new(format)] };
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
                b"\xC3\xA9", b"\xC3", b"\0", b" ", b"\xEF\xBB\xBF", b"\"\"", b"\",\"",
            ]),
            0..120,
        ),
        escape in prop_oneof![Just(None), Just(Some(b'\\'))],
        limits in limits(),
        slices in proptest::collection::vec(1..20_usize, 1..8),
    ) {
        let dialect = Dialect { escape, header_rows: 0, ..Dialect::default() };
        let plan = plan(&[("a", DataType::Utf8, true), ("b", DataType::Int64, false)]);
        check(&plan, &dialect, limits, &tokens.concat(), &slices)?;
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
    let reject = |line, byte, column: Option<&str>, reason: &str, raw: &str| Reject {
        position: Position { line, byte, column: column.map(Into::into) },
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
    assert_eq!(rejects[0].position, Position { line: 4, byte: 12, column: None });
}

#[test]
fn a_quoted_null_is_text_in_text_alone() {
    let (rows, _) = decode_whole(&two_columns(), &Dialect::default(), b"id,text\n\"\",\"\"\n,\n");
    assert_eq!(rows, [vec![Cell::Null, Cell::Text(vec![])], vec![Cell::Null, Cell::Null]]);
}

#[test]
fn a_row_too_long_ends_the_object_after_the_rows_before_it() {
    let limits = Limits { row_bytes_max: 10, chunk_bytes: 7, ..Limits::default() };
    let text = b"id,text\n1,12345678\n2,123456789\n3,a\n";
    for chunk_bytes in [3, 7, 1 << 10] {
        let limits = Limits { chunk_bytes, ..limits };
        let mut decoder = Decoder::new(two_columns(), &Dialect::default(), limits).unwrap();
        let mut slice = &text[..];
        let mut decoded = decoder.decode(&mut slice).unwrap();
        if decoded.is_none() {
            decoded = decoder.finish().unwrap();
        }
        assert_eq!(cells(&decoded.unwrap().batch), [pair(1, "12345678")]);
        let error = decoder.decode(&mut slice).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SourceInvalid);
        assert_eq!(error.position(), Some(&Position { line: 3, byte: 19, column: None }));
    }
}

#[test]
fn a_row_without_end_is_not_held() {
    let limits = Limits { row_bytes_max: 1 << 16, chunk_bytes: 1 << 12, ..Limits::default() };
    for filler in [b'x', b',', b'"'] {
        let mut decoder = Decoder::new(two_columns(), &Dialect::default(), limits).unwrap();
        let filler = [filler; 1 << 12];
        let refused = (0..100).position(|_| decoder.decode(&mut &filler[..]).is_err()).unwrap();
        assert!(refused <= 17, "{refused}");
        assert!(decoder.held_bytes() <= (1 << 16) + 3 * (1 << 12), "{}", decoder.held_bytes());
    }
}

#[test]
fn a_header_that_does_not_fit_is_an_error() {
    for text in ["id\n1,a\n", "id,\"text\n1,a\n", "id,\"text\"s\n"] {
        let text = text.as_bytes();
        let error =
            decode(&two_columns(), &Dialect::default(), Limits::default(), text, &[3]).unwrap_err();
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
    let limits = Limits { row_bytes_max: usize::MAX, ..Limits::default() };
    Decoder::new(two_columns(), &Dialect::default(), limits).unwrap_err();
}

#[test]
fn rows_without_wanted_columns_are_counted() {
    let plan =
        DecodePlan { schema: Arc::new(Schema::empty()), fields: vec![None, None], formats: vec![] };
    let text = b"a,b\n1,2\n3\n4,5\n";
    let decoded = decode(&plan, &Dialect::default(), Limits::default(), text, &[4]).unwrap();
    assert_eq!((decoded[0].batch.num_rows(), decoded[0].rejects.len()), (2, 1));
}
