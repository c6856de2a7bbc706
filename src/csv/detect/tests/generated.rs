//! Tables that are written in some dialect, and must be read back as they were.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::super::parse::Table;
use super::*;

/// How a table is written.
#[derive(Debug, Clone)]
struct Written {
    delimiter: &'static str,
    quote: char,
    /// Quotes are doubled without one.
    escape: Option<char>,
    line_ending: &'static str,
    has_header: bool,
    preamble: &'static str,
    quotes_all: bool,
}

/// A header and rows.
#[derive(Debug, Clone)]
struct Content {
    names: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Written {
    fn write(&self, content: &Content) -> String {
        let mut text = self.preamble.replace('\n', self.line_ending);
        let header = self.has_header.then_some(&content.names);
        for row in header.into_iter().chain(&content.rows) {
            let fields: Vec<String> = row.iter().map(|field| self.field(field)).collect();
            text += &fields.join(self.delimiter);
            text += self.line_ending;
        }
        text
    }

    fn field(&self, text: &str) -> String {
        let needs_quotes = text.contains(self.delimiter)
            || text.starts_with(self.quote)
            || text.contains(['\n', '\r'])
            || (self.escape.is_some() && text.contains('\\'));
        if !needs_quotes && !self.quotes_all {
            return text.to_owned();
        }
        let quote = self.quote;
        let inner = match self.escape {
            Some(escape) => text
                .replace(escape, &format!("{escape}{escape}"))
                .replace(quote, &format!("{escape}{quote}")),
            None => text.replace(quote, &format!("{quote}{quote}")),
        };
        format!("{quote}{inner}{quote}")
    }
}

/// Reads `text` as the detected dialect has it.
fn read(text: &str, dialect: &Dialect) -> Content {
    let candidate = Candidate {
        delimiter: dialect.delimiter.clone(),
        quote: dialect.quote,
        escape: dialect.escape,
        line_ending: dialect.line_ending,
        comment: None,
        prior: 1.0,
    };
    let bytes = without_lines(text.as_bytes(), dialect.skip_lines, Some(dialect.line_ending));
    let table = Table::parse(bytes, true, &candidate);
    let quote = dialect.quote.map(|quote| char::from(quote).to_string());
    let row = |row: usize| -> Vec<String> {
        let text = |cell: &parse::Cell| {
            let text = String::from_utf8_lossy(table.text_of(*cell)).into_owned();
            match (&quote, dialect.escape) {
                (Some(quote), Some(_)) if cell.quoted => {
                    text.replace(&format!("\\{quote}"), quote).replace("\\\\", "\\")
                }
                (Some(quote), None) if cell.quoted => text.replace(&quote.repeat(2), quote),
                _ => text,
            }
        };
        table.row(row).iter().map(text).collect()
    };
    let mut rows: Vec<_> = (0..table.len()).map(row).collect();
    let header: Vec<_> = rows.drain(..dialect.header_rows as usize).collect();
    Content { names: header.into_iter().next_back().unwrap_or_default(), rows }
}

/// Whether what is written is read back as it was.
fn comes_back(written: &Written, content: &Content) -> bool {
    let text = written.write(content);
    let dialect = detect(whole(&text), &DialectOptions::default(), &[]).dialect;
    let read = read(&text, &dialect);
    read.rows == content.rows && (!written.has_header || read.names == content.names)
}

/// Prose with the marks of other dialects in it.
fn prose() -> impl Strategy<Value = String> {
    let word = "[a-zéß]{1,8}";
    let joint = prop_oneof![
        8 => Just(" "), 2 => Just(", "), 1 => Just("; "), 1 => Just(" | "), 1 => Just("\n"),
        1 => Just(": "), 1 => Just(" \"x\" "), 1 => Just("'s "), 1 => Just("\t"),
    ];
    (word, prop::collection::vec((joint, word), 0..6)).prop_map(|(first, rest)| {
        rest.into_iter().fold(first, |text, (joint, word)| text + joint + &word)
    })
}

/// The values of a column: numbers, days, times, codes, prose.
fn value(kind: usize) -> BoxedStrategy<String> {
    match kind {
        0 => "-?[0-9]{1,5}".boxed(),
        1 => "[0-9]{1,4}\\.[0-9]{2}".boxed(),
        2 => "20[0-9]{2}-0[1-9]-[12][0-9]".boxed(),
        3 => "[01][0-9]:[0-5][0-9]:[0-5][0-9]".boxed(),
        4 => "[A-Z]{2}-[0-9]{3}".boxed(),
        5 => prop_oneof![4 => prose(), 1 => Just(String::new())].boxed(),
        _ => "[0-9]{1,4},[0-9]{2}".boxed(),
    }
}

/// Tables of these kinds of columns beside a first one of numbers.
fn content(kinds: std::ops::Range<usize>) -> impl Strategy<Value = Content> {
    (prop::collection::vec(kinds, 1..6), 3..20_usize).prop_flat_map(|(kinds, rows)| {
        let kinds: Vec<usize> = [0].into_iter().chain(kinds).collect();
        let row: Vec<BoxedStrategy<String>> = kinds.iter().map(|kind| value(*kind)).collect();
        let names = (0..kinds.len()).map(|i| format!("name{}", ["a", "b", "c", "d", "e", "f"][i]));
        let names: Vec<String> = names.collect();
        prop::collection::vec(row, rows)
            .prop_map(move |rows| Content { names: names.clone(), rows })
    })
}

fn common() -> impl Strategy<Value = Written> {
    (
        prop::sample::select(vec![",", ";", "\t", "|", "\x01"]),
        prop::sample::select(vec!["\n", "\r\n", "\r"]),
        any::<bool>(),
        prop::sample::select(vec!["", "", "A title\n\n", "Notes, as of May\nmore; notes\n\n"]),
        any::<bool>(),
    )
        .prop_map(|(delimiter, line_ending, has_header, preamble, quotes_all)| Written {
            // Notes that delimiters are in could be the header of what has none.
            preamble: if has_header || !preamble.contains(delimiter) { preamble } else { "" },
            delimiter,
            quote: '"',
            escape: None,
            line_ending,
            has_header,
            quotes_all,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Common delimiters, quotes and line ends, a header over numbers or none, and lines of notes are
    /// always found.
    #[test]
    fn common_dialects_come_back(written in common(), content in content(0..6)) {
        prop_assert!(comes_back(&written, &content), "{:?}", written.write(&content));
    }

    /// Whatever the bytes, something is found, and it is a dialect.
    #[test]
    fn any_bytes_have_a_dialect(
        bytes in prop::collection::vec(
            prop_oneof![3 => prop::sample::select(b",;|\t\"'\\\r\n :^~a1".to_vec()), 1 => any::<u8>()],
            0..300,
        ),
        whole in any::<bool>(),
    ) {
        let sample = Sample { bytes: &bytes, whole };
        let detection = detect(sample, &DialectOptions::default(), &["a"]);
        prop_assert!(detection.dialect.check().is_ok());
        prop_assert!((0.0..=1.0).contains(&detection.confidence));
        prop_assert!(detection.dialect.skip_lines <= bytes.len() as u64);
    }
}

/// How many of 500 tables come back, in per cent.
fn rate(written: impl Fn(Written) -> Written, kinds: std::ops::Range<usize>) -> usize {
    let mut runner = TestRunner::deterministic();
    let strategy = (common(), content(kinds));
    let came_back = (0..500).filter(|_| {
        let (common, content) = strategy.new_tree(&mut runner).unwrap().current();
        comes_back(&written(common), &content)
    });
    came_back.count() / 5
}

/// What is ambiguous: apostrophes as quotes beside apostrophes, decimal commas, delimiters that prose is
/// full of, notes that could be a header. What is asked is a little less than what there is.
#[test]
fn rare_dialects_mostly_come_back() {
    let rates = [
        ("apostrophes as quotes", 96, rate(|w| Written { quote: '\'', ..w }, 0..6)),
        ("backslashes as escapes", 98, rate(|w| Written { escape: Some('\\'), ..w }, 0..6)),
        ("decimal commas", 99, rate(|w| Written { delimiter: ";", ..w }, 5..7)),
        ("comma and space", 95, rate(|w| Written { delimiter: ", ", ..w }, 0..6)),
        ("two bars", 98, rate(|w| Written { delimiter: "||", ..w }, 0..6)),
        ("spaces", 94, rate(|w| Written { delimiter: " ", preamble: "", ..w }, 0..5)),
        ("colons", 98, rate(|w| Written { delimiter: ":", preamble: "", ..w }, 0..3)),
    ];
    for (what, expected, rate) in rates {
        assert!(rate >= expected, "{what}: {rate} %");
    }
}
