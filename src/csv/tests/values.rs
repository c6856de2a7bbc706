//! Values as they are in objects, and what they are read as.

use super::*;

/// Mostly right values for a column of [`every_type`], and some that are not.
pub(super) fn value_for(column: usize) -> BoxedStrategy<String> {
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
pub(super) fn german_value_for(column: usize) -> BoxedStrategy<String> {
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

pub(super) fn german() -> ValueFormat {
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

#[test]
fn spaces_around_unquoted_text_go_where_that_is_said() {
    let texts = plan(&[("a", DataType::Utf8, true), ("b", DataType::Utf8, true)]);
    let null_values = vec![String::new(), "NA".to_owned()];
    let dialect = Dialect {
        trim: true,
        escape: Some(b'\\'),
        header_rows: 0,
        null_values,
        ..Dialect::default()
    };
    let text = "  a b , NA \n\" c \",   \n \"\\☃, \\, \n";
    let (rows, rejects) = decode_whole(&texts, &dialect, text.as_bytes());
    let cell = |text: &str| Cell::Text(text.into());
    let expected =
        [[cell("a b"), Cell::Null], [cell(" c "), Cell::Null], [cell("\"\\☃"), cell(",")]];
    assert_eq!(rows, expected);
    assert_eq!(rejects, []);
}

#[test]
fn values_that_are_bad_say_how_they_should_be_written() {
    let columns = plan(&[
        ("day", DataType::Date32, true),
        ("price", DataType::Decimal128(7, 2), true),
        ("hash", DataType::Binary, true),
    ]);
    let format = Arc::new(german());
    let formats = vec![Arc::clone(&format), Arc::clone(&format), format];
    let columns = DecodePlan { formats, ..columns };
    let dialect = Dialect { delimiter: b";".to_vec(), header_rows: 0, ..Dialect::default() };
    let text = b"29.02.2024;1.234,555;00fF\n-;-;\"\"\n2024-02-29;1;00\n;1.5;00\n;1,5;0\n";
    let (rows, rejects) = decode_whole(&columns, &dialect, text);
    let expected = [
        vec![Cell::Integer(19_782), Cell::Integer(123_456), Cell::Text(vec![0, 0xFF])],
        vec![Cell::Null, Cell::Null, Cell::Text(vec![])],
    ];
    assert_eq!(rows, expected);
    let reasons: Vec<_> = rejects.iter().map(|reject| reject.complaint.reason.as_str()).collect();
    let expected = [
        "\"2024-02-29\" is not a date written as %d.%m.%Y",
        "\"1.5\" is not a decimal(7,2)",
        "\"0\" is not hexadecimal",
    ];
    assert_eq!(reasons, expected);
}
