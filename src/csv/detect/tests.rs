use proptest::prelude::*;

use super::*;
use crate::csv::read_header;

fn detected(text: &str) -> Dialect {
    let sample = Sample { bytes: text.as_bytes(), whole: true };
    let options = DialectOptions { null_values: vec![String::new()], ..DialectOptions::default() };
    let detection = detect(sample, &options, &[]);
    detection.dialect.check().unwrap();
    detection.dialect
}

/// The delimiter, the quote, the lines skipped and the rows of the header.
fn outline(text: &str) -> (String, Option<char>, u64, u32) {
    let dialect = detected(text);
    let delimiter = String::from_utf8(dialect.delimiter).unwrap();
    (delimiter, dialect.quote.map(char::from), dialect.skip_lines, dialect.header_rows)
}

#[track_caller]
fn assert_outline(text: &str, delimiter: &str, skip_lines: u64, header_rows: u32) {
    let (found, _, skipped, rows) = outline(text);
    let expected = (delimiter, skip_lines, header_rows);
    assert_eq!((found.as_str(), skipped, rows), expected, "{text}");
}

#[test]
fn the_usual_is_found() {
    assert_outline("id,name\n1,Ann\n2,Bob\n", ",", 0, 1);
    assert_outline("id;name\r\n1;Ann\r\n", ";", 0, 1);
    assert_outline("id\tname\n1\tAnn, Bob\n2\tCid\n", "\t", 0, 1);
    assert_outline("1|Ann|2024-01-01|\n2|Bob|2024-01-02|\n", "|", 0, 0);
    assert_outline("a\x01b\n1\x012\n", "\x01", 0, 1);
    assert_outline("a||b||c\n1||2||3\n4||5||6\n", "||", 0, 1);
    assert_outline("", ",", 0, 1);
    assert_outline("id,name,age\n", ",", 0, 1);
}

#[test]
fn quotes_and_escapes_are_found() {
    let dialect = detected("a,b\n'x,1','it''s'\n'y','z'\n'u,v','w'\n");
    assert_eq!((dialect.quote, dialect.escape), (Some(b'\''), None));
    let dialect = detected("id,text\n1,\"say \\\"hi\\\", he said\"\n2,\"so \\\"be\\\" it\"\n3,x\n");
    assert_eq!((dialect.quote, dialect.escape), (Some(b'"'), Some(b'\\')));
    let dialect = detected("id,text\n1,\"say \"\"hi\"\", \\ he\"\n2,it's\n");
    assert_eq!((dialect.quote, dialect.escape), (Some(b'"'), None));
    // A quote that is data does not make a dialect without quotes of one that has them.
    let dialect = detected("id,size\n1,5\"\n2,\"7,5\"\n3,\"9\"\n4,8\n");
    assert_eq!(dialect.quote, Some(b'"'));
}

#[test]
fn line_ends_are_found() {
    assert_eq!(detected("a,b\r1,2\r3,4\r").line_ending, LineEnding::Cr);
    assert_eq!(detected("a,b\r\n1,2\r\n3,4\r\n").line_ending, LineEnding::Lf);
    assert_eq!(detected("a,b\r\n1,2\n3,4\r5,6\r7,8\n").line_ending, LineEnding::Mixed);
    assert_eq!(detected("a,b\n1,\"x\ry\"\n3,4\n5,6\n").line_ending, LineEnding::Lf);
}

#[test]
fn what_people_export_is_found() {
    let german = "Artikel;Preis;Datum\nSchraube;1,25;31.01.2024\nMutter;0,75;01.02.2024\n\
                  Dübel, lang;1.234,50;02.02.2024\n";
    assert_outline(german, ";", 0, 1);
    let french = "Nom;Montant\nDurand;1 234,50\nPetit;12,00\n";
    assert_outline(french, ";", 0, 1);
    assert_outline("sep=;\r\nid;name\r\n1;a,b\r\n", ";", 1, 1);
    let government = "Population by region\nSource: Office of Statistics, 2024\n\n\
                      Region,Year,Population\nNorth,2020,1200\nSouth,2020,3400\nEast,2021,560\n";
    assert_outline(government, ",", 3, 1);
    let log = "2024-01-01 10:00:00 INFO start\n2024-01-01 10:00:01 WARN slow\n\
               2024-01-01 10:00:02 INFO done\n";
    assert_outline(log, " ", 0, 0);
    let times = "at\n2024-01-01 10:00:00\n2024-01-02 11:00:00\n2024-01-03 12:30:00\n";
    let (delimiter, _, skipped, header) = outline(times);
    assert!(!times.contains(&delimiter), "one column is cut at {delimiter:?}");
    assert_eq!((skipped, header), (0, 1));
}

#[test]
fn a_declared_delimiter_must_make_sense() {
    assert_outline("sep=\"\na,b\n1,2\n3,4\n", ",", 1, 1);
}

#[test]
fn prose_is_one_column() {
    let text = "remark\nall is well, they say\nno: it is not; really\nwell, well, well\nyes\n";
    let (delimiter, ..) = outline(text);
    assert!(!text.contains(&delimiter), "prose is cut at {delimiter:?}");
}

#[test]
fn a_header_is_told_from_a_row() {
    assert_outline("1,Ann,2024-01-01\n2,Bob,2024-01-02\n", ",", 0, 0);
    assert_outline("city,country\nRome,Italy\nParis,France\n", ",", 0, 1);
    assert_outline("5,a\n", ",", 0, 0);
    assert_outline("\"1\",\"x\"\n\"2\",\"y\"\n", ",", 0, 0);
}

#[test]
fn the_tables_columns_tell_a_header() {
    let find = |text: &str, columns: &[&str]| {
        let sample = Sample { bytes: text.as_bytes(), whole: true };
        let dialect = detect(sample, &DialectOptions::default(), columns).dialect;
        (dialect.skip_lines, dialect.header_rows)
    };
    assert_eq!(find("A report\n\nID,Full Name\n1,Ann\n", &["id", "full_name"]), (2, 1));
    assert_eq!(find("2020,2021\n5,6\n", &["2020", "2021"]), (0, 1));
    assert_eq!(find("2020,2021\n5,6\n", &["a", "b"]), (0, 0));
}

#[test]
fn what_is_said_is_not_found_out() {
    let options = DialectOptions {
        delimiter: Some(b",".to_vec()),
        quote: Some(None),
        escape: Some(None),
        line_ending: Some(LineEnding::Lf),
        header: Some(false),
        skip_lines: Some(0),
        ..DialectOptions::default()
    };
    let sample = Sample { bytes: b"a;b\n\"1;2\"\n", whole: true };
    let detection = detect(sample, &options, &[]);
    assert_eq!(detection.dialect, options.or_default());
    assert!((detection.confidence - 1.0).abs() < f64::EPSILON);
    let options = DialectOptions { delimiter: Some(b";".to_vec()), ..DialectOptions::default() };
    let sample = Sample { bytes: b"a,b,c\n1,2,3\n4,5,6\n", whole: true };
    assert_eq!(detect(sample, &options, &[]).dialect.delimiter, b";");
}

/// 84 rows of 9 columns, as the files have that polluted ones are made of.
fn clean_rows() -> Vec<Vec<String>> {
    let header = [
        "DATE",
        "TIME",
        "Qty",
        "PRODUCTID",
        "Price",
        "ProductType",
        "Description",
        "URL",
        "Comments",
    ];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for i in 1..84 {
        rows.push(vec![
            format!("{:02}/{:02}/2018", 1 + i % 12, 1 + i % 28),
            format!("{:02}:{:02}", i % 24, i % 60),
            format!("{}", i % 7),
            format!("a{}-{i}", i * 37),
            format!("{}.{:02}", i, i % 100),
            "Pillow".to_owned(),
            format!("\"The pillow, number {i}\""),
            format!("http://example.com/pillow?id={i}"),
            "[NOTE] \"\"new\"\" item".replace("\"\"", "").to_owned(),
        ]);
    }
    rows
}

#[test]
fn one_polluted_row_does_not_change_the_dialect() {
    let clean = clean_rows();
    let text =
        |rows: &[Vec<String>]| -> String { rows.iter().map(|row| row.join(",") + "\n").collect() };
    let expected = detected(&text(&clean));
    assert_eq!((expected.delimiter.as_slice(), expected.header_rows), (&b","[..], 1));
    let mut polluted = Vec::new();
    for row in (0..clean.len()).filter(|row| row % 12 < 2) {
        for column in 0..clean[0].len() {
            for pollution in ["more", "less", "quote", ";", " "] {
                let mut rows = clean.clone();
                match pollution {
                    "more" => rows[row][column].push(','),
                    "less" if column > 0 => {
                        let cell = rows[row].remove(column);
                        rows[row][column - 1].push_str(&cell);
                    }
                    "quote" => rows[row][column].insert(0, '"'),
                    other if column > 0 => {
                        let cell = rows[row].remove(column);
                        rows[row][column - 1].push_str(&(other.to_owned() + &cell));
                    }
                    _ => continue,
                }
                if detected(&text(&rows)) != expected {
                    polluted.push((row, column, pollution));
                }
            }
        }
    }
    assert!(
        polluted.is_empty(),
        "{} others: {:?}",
        polluted.len(),
        &polluted[..polluted.len().min(9)]
    );
}

/// A value for the column, by what the column is.
fn value_for(column: usize) -> BoxedStrategy<String> {
    match column % 4 {
        0 => (0..100_000_u32).prop_map(|n| n.to_string()).boxed(),
        1 => "[A-Z][a-z]{2,9}( [a-z]{2,8})?".boxed(),
        2 => (1..13_u32, 1..29_u32).prop_map(|(m, d)| format!("2024-{m:02}-{d:02}")).boxed(),
        _ => {
            prop_oneof!["[a-z]{3,8}", "[a-z]{3,8}[,;] [a-z]{3,8}", "[a-z]{2,5}\n[a-z]{2,5}"].boxed()
        }
    }
}

fn written(rows: &[Vec<String>], dialect: &Dialect) -> String {
    let delimiter = std::str::from_utf8(&dialect.delimiter).unwrap();
    let quote = dialect.quote.map_or(String::new(), |quote| char::from(quote).to_string());
    let end = if dialect.line_ending == LineEnding::Cr { "\r" } else { "\n" };
    let cell = |cell: &String| {
        if cell.contains([',', ';', '\n', '\t', '|']) {
            format!("{quote}{cell}{quote}")
        } else {
            cell.clone()
        }
    };
    rows.iter().map(|row| row.iter().map(cell).collect::<Vec<_>>().join(delimiter) + end).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// Tables with numbers or dates in them, of five rows or more, are always found.
    #[test]
    fn a_table_is_found_as_it_was_written(
        rows in proptest::collection::vec((0..6_usize).map_columns(), 5..30),
        delimiter in prop_oneof![Just(","), Just(";"), Just("\t"), Just("|"), Just("||")],
        quote in prop_oneof![Just(b'"'), Just(b'\'')],
        header in any::<bool>(),
        cr in any::<bool>(),
        preamble in prop_oneof![Just(0_u64), Just(2)],
    ) {
        let line_ending = if cr { LineEnding::Cr } else { LineEnding::Lf };
        let dialect = Dialect {
            delimiter: delimiter.as_bytes().to_vec(),
            quote: Some(quote),
            line_ending,
            header_rows: u32::from(header),
            ..Dialect::default()
        };
        let names: Vec<String> = (0..6).map(|i| format!("name {}", char::from(b'a' + i))).collect();
        let mut all = Vec::new();
        if header {
            all.push(names);
        }
        all.extend(rows);
        let end = if cr { "\r" } else { "\n" };
        let preamble = if header { preamble } else { 0 };
        let title = if preamble > 0 { format!("A title{end}{end}") } else { String::new() };
        let text = title + &written(&all, &dialect);
        let found = detected(&text);
        prop_assert_eq!(String::from_utf8_lossy(&found.delimiter), delimiter, "{}", text);
        prop_assert_eq!(found.header_rows, u32::from(header), "{}", text);
        prop_assert_eq!(found.skip_lines, preamble, "{}", text);
        let quote_shows = text.contains(char::from(quote));
        prop_assert!(!quote_shows || found.quote == Some(quote), "{}", text);
        let sample = Sample { bytes: text.as_bytes(), whole: true };
        prop_assert_eq!(read_header(sample, &found).unwrap().unwrap().len(), 6);
    }

    #[test]
    fn any_bytes_have_a_dialect_that_can_be_read(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        whole in any::<bool>(),
    ) {
        let sample = Sample { bytes: &bytes, whole };
        let detection = detect(sample, &DialectOptions::default(), &[]);
        prop_assert!(detection.dialect.check().is_ok());
        prop_assert!((0.0..=1.0).contains(&detection.confidence));
    }
}

trait Columns {
    fn map_columns(self) -> BoxedStrategy<Vec<String>>;
}

impl Columns for std::ops::Range<usize> {
    fn map_columns(self) -> BoxedStrategy<Vec<String>> {
        self.map(value_for).collect::<Vec<_>>().boxed()
    }
}
