//! What is read of bad rows.

use super::*;

/// A decoder's plan of two columns and one for what is rescued.
fn rescuing(rules: RowRules) -> DecodePlan {
    let mut plan = plan(&[
        ("id", DataType::Int64, true),
        ("text", DataType::Utf8, true),
        ("_rescued", DataType::Utf8, true),
    ]);
    plan.fields.pop();
    plan.rescued = Some(2);
    plan.rules = rules;
    plan
}

const RESCUE: RowRules =
    RowRules { rescue: true, short_rows: ShortRows::Bad, long_rows: LongRows::Bad };

/// One row without a header: its cells, what was rescued, and what is complained of.
fn row(plan: &DecodePlan, dialect: &Dialect, text: &[u8]) -> (Vec<Cell>, String, Vec<RejectKind>) {
    let dialect = Dialect { header_rows: 0, ..dialect.clone() };
    let decoded = decode(plan, &dialect, Limits::default(), text, &[usize::MAX]).unwrap();
    let rescued = decoded[0].rescued.iter().map(|complaint| complaint.kind).collect();
    assert_eq!(decoded[0].rejects, []);
    let mut rows = cells(&decoded[0].batch);
    let mut row = rows.remove(0);
    assert!(rows.is_empty() && decoded.len() == 1);
    let json = match row.pop() {
        Some(Cell::Text(json)) => String::from_utf8(json).unwrap(),
        _ => String::new(),
    };
    (row, json, rescued)
}

fn rescued(text: &[u8]) -> (Vec<Cell>, String, Vec<RejectKind>) {
    row(&rescuing(RESCUE), &Dialect::default(), text)
}

#[test]
fn a_good_row_has_nothing_rescued() {
    assert_eq!(rescued(b"1,a\n"), (pair(1, "a"), String::new(), vec![]));
}

#[test]
fn a_value_that_does_not_fit_is_kept_as_it_is_written() {
    let (cells, json, kinds) = rescued(b"\" 1,\"\"5\",a\n");
    assert_eq!(cells, [Cell::Null, Cell::Text(b"a".into())]);
    assert_eq!(json, r#"{"id":" 1,\"5"}"#);
    assert_eq!(kinds, [RejectKind::BadValue]);
}

#[test]
fn missing_fields_are_null_and_counted() {
    let (cells, json, kinds) = rescued(b"1\n");
    assert_eq!(cells, [Cell::Integer(1), Cell::Null]);
    assert_eq!(json, r#"{"_missing":1}"#);
    assert_eq!(kinds, [RejectKind::TooFewFields]);
}

#[test]
fn fields_too_many_are_kept_in_order() {
    let (cells, json, kinds) = rescued(b"1,a,,\"b,\"\"c\"\"\",\n");
    assert_eq!(cells, pair(1, "a"));
    assert_eq!(json, r#"{"_surplus":["","b,\"c\"",""]}"#);
    assert_eq!(kinds, [RejectKind::TooManyFields]);
}

#[test]
fn a_row_whose_quotes_make_no_sense_is_read_as_likely_meant_and_kept_whole() {
    let (cells, json, kinds) = rescued(b"1,\"a\"b\n");
    assert_eq!(cells, pair(1, "ab"));
    assert_eq!(json, r#"{"_raw":"1,\"a\"b"}"#);
    assert_eq!(kinds, [RejectKind::TextAfterQuote]);
    let (cells, json, _) = rescued(b"1,\"a\n");
    assert_eq!(cells, pair(1, "\"a"));
    assert_eq!(json, r#"{"_raw":"1,\"a"}"#);
    let (cells, json, kinds) = rescued(b"\"1,\"a\",b\n");
    assert_eq!(cells, [Cell::Null, Cell::Text(b"a".into())]);
    assert_eq!(json, r#"{"id":"\"1","_surplus":["b"],"_raw":"\"1,\"a\",b"}"#);
    assert_eq!(kinds[0], RejectKind::TextAfterQuote);
    let (cells, json, _) = rescued(b"1,\"a\"\xFF\n");
    assert_eq!(cells, pair(1, "a\u{FFFD}"));
    assert_eq!(json, "{\"_raw\":\"1,\\\"a\\\"\u{FFFD}\",\"_raw_base64\":\"MSwiYSL/\"}");
}

#[test]
fn a_field_that_its_quotes_make_too_long_is_not_read() {
    let dialect = Dialect { header_rows: 0, ..Dialect::default() };
    let limits = Limits { field_bytes_max: 6, ..Limits::default() };
    let text = b"1,\"abcdefgh\"i\n2,b\n";
    let decoded = decode(&rescuing(RESCUE), &dialect, limits, text, &[usize::MAX]).unwrap();
    let raw = r#"{"_raw":"1,\"abcdefgh\"i"}"#;
    let rows = cells(&decoded[0].batch);
    assert_eq!(rows[0], [Cell::Null, Cell::Null, Cell::Text(raw.as_bytes().into())]);
    assert_eq!(rows.len(), 2);
}

#[test]
fn what_is_no_text_is_mended_and_kept_byte_by_byte() {
    let (cells, json, kinds) = rescued(b"1,caf\xE9\n");
    assert_eq!(cells, pair(1, "caf\u{FFFD}"));
    assert_eq!(json, r#"{"_raw_base64":"MSxjYWbp"}"#);
    assert_eq!(kinds, [RejectKind::BadEncoding]);
    let (cells, json, kinds) = rescued(b"1\0,a,b\n");
    assert_eq!(cells, [Cell::Null, Cell::Text(b"a".into())]);
    assert_eq!(json, "{\"id\":\"1\u{FFFD}\",\"_surplus\":[\"b\"],\"_raw_base64\":\"MQAsYSxi\"}");
    assert_eq!(kinds[0], RejectKind::TooManyFields);
}

#[test]
fn rules_make_bad_rows_good() {
    let with = |short_rows, long_rows| rescuing(RowRules { rescue: false, short_rows, long_rows });
    let dialect = Dialect::default();
    let padded = with(ShortRows::Pad, LongRows::Bad);
    assert_eq!(
        row(&padded, &dialect, b"1\n"),
        (vec![Cell::Integer(1), Cell::Null], String::new(), vec![])
    );
    let ignored = with(ShortRows::Bad, LongRows::Ignore);
    assert_eq!(row(&ignored, &dialect, b"1,a,b\n"), (pair(1, "a"), String::new(), vec![]));
    let kept = with(ShortRows::Bad, LongRows::Rescue);
    assert_eq!(
        row(&kept, &dialect, b"1,a,b\n"),
        (pair(1, "a"), r#"{"_surplus":["b"]}"#.to_owned(), vec![])
    );
}

#[test]
fn a_missing_field_is_null_even_where_nothing_stands_for_null() {
    let dialect = Dialect { null_values: vec![], ..Dialect::default() };
    let mut plan = rescuing(RowRules { short_rows: ShortRows::Pad, ..RowRules::default() });
    plan.fields.swap(0, 1);
    let (cells, _, kinds) = row(&plan, &dialect, b"a\n");
    assert_eq!(cells, [Cell::Null, Cell::Text(b"a".into())]);
    assert_eq!(kinds, []);
}

#[test]
fn delimiters_of_several_bytes_split_bad_rows_too() {
    let dialect = Dialect { delimiter: b"||".to_vec(), ..Dialect::default() };
    let (cells, json, _) = row(&rescuing(RESCUE), &dialect, b"x||a|b||c\n");
    assert_eq!(cells, [Cell::Null, Cell::Text(b"a|b".into())]);
    assert_eq!(json, r#"{"id":"x","_surplus":["c"]}"#);
}

#[test]
fn fields_without_a_column_are_rescued_by_name() {
    let mut plan = rescuing(RowRules::default());
    plan.fields = vec![Target::Rescued("new".into()), Target::Column(1), Target::Ignored];
    let dialect = Dialect::default();
    assert_eq!(
        row(&plan, &dialect, b"1,a,b\n"),
        (vec![Cell::Null, Cell::Text(b"a".into())], r#"{"new":"1"}"#.to_owned(), vec![])
    );
    assert_eq!(row(&plan, &dialect, b",a,b\n").1, "");
}

#[test]
fn keys_give_way_to_columns() {
    let mut plan = rescuing(RESCUE);
    let field = |name: &str| Field::new(name, DataType::Utf8, true);
    plan.schema = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, true),
        field("_surplus"),
        field("_rescued"),
    ]));
    assert_eq!(row(&plan, &Dialect::default(), b"1,a,b\n").1, r#"{"__surplus":["b"]}"#);
}

#[test]
fn what_must_not_be_null_is_rejected() {
    let mut plan = rescuing(RESCUE);
    plan.schema = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("text", DataType::Utf8, true),
        Field::new("_rescued", DataType::Utf8, true),
    ]));
    let text = b"id,text\nx,a\n,b\n1,\"c\"d\n2,e,f\n";
    let decoded =
        decode(&plan, &Dialect::default(), Limits::default(), text, &[usize::MAX]).unwrap();
    let kinds: Vec<_> = decoded[0].rejects.iter().map(|reject| reject.complaint.kind).collect();
    use RejectKind::{BadValue, MissingValue};
    assert_eq!(kinds, [BadValue, MissingValue]);
    assert_eq!(decoded[0].batch.num_rows(), 2);
    assert_eq!(decoded[0].rescued.len(), 2);
}

#[test]
fn what_is_rescued_of_a_row_is_bounded() {
    let limits = Limits { row_bytes_max: 40, ..Limits::default() };
    let controls = "\u{1}".repeat(30);
    let text = format!("id,text\n{controls},a\nx,b\n");
    let plan = rescuing(RESCUE);
    let decoded =
        decode(&plan, &Dialect::default(), limits, text.as_bytes(), &[usize::MAX]).unwrap();
    assert_eq!(decoded[0].rejects[0].complaint.kind, RejectKind::RescueTooLong);
    assert_eq!(decoded[0].batch.num_rows(), 1);
}

#[test]
fn rescued_values_end_a_batch() {
    let limits = Limits { batch_bytes_max: 2000, chunk_bytes: 64, ..Limits::default() };
    let text = "x,\n".repeat(1000);
    let dialect = Dialect { header_rows: 0, ..Dialect::default() };
    let decoded =
        decode(&rescuing(RESCUE), &dialect, limits, text.as_bytes(), &[usize::MAX]).unwrap();
    let rows: Vec<usize> = decoded.iter().map(|decoded| decoded.batch.num_rows()).collect();
    assert_eq!(rows.iter().sum::<usize>(), 1000);
    // `{"id":"x"}` and some 19 bytes beside it.
    assert!(rows.iter().all(|rows| *rows <= 2000 / 29 + 22), "{rows:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// A row is rescued exactly if it would be rejected else, and the others are as they were.
    #[test]
    fn good_rows_are_the_same_where_bad_ones_are_rescued(
        tokens in proptest::collection::vec(
            prop::sample::select(vec![
                &b","[..], b",", b"\"", b"\n", b"\n", b"\r\n", b"1", b"1", b"ab", b"\xC3", b"\0", b" ",
            ]),
            0..120,
        ),
        limits in limits(),
        slices in proptest::collection::vec(1..20_usize, 1..8),
    ) {
        let text = tokens.concat();
        let dialect = Dialect { header_rows: 0, ..Dialect::default() };
        let limits = Limits { row_bytes_max: 1 << 20, field_bytes_max: 1 << 20, ..limits };
        let plan = rescuing(RESCUE);
        let strict = DecodePlan { rules: RowRules::default(), ..plan.clone() };
        let (good, rejects) = flatten(&decode(&strict, &dialect, limits, &text, &slices).unwrap());
        let decoded = decode(&plan, &dialect, limits, &text, &slices).unwrap();
        let complaints: Vec<_> = decoded.iter().flat_map(|it| it.rescued.clone()).collect();
        let expected: Vec<_> = rejects.into_iter().map(|reject| reject.complaint).collect();
        prop_assert_eq!(complaints, expected);
        let rows = decoded.iter().flat_map(|it| cells(&it.batch));
        let (untouched, rescued): (Vec<_>, Vec<_>) = rows.partition(|row| row[2] == Cell::Null);
        prop_assert_eq!(untouched, good);
        for row in rescued {
            let Cell::Text(json) = &row[2] else { unreachable!("it is rescued") };
            prop_assert!(serde_json::from_slice::<serde_json::Value>(json).unwrap().is_object());
        }
    }
}
