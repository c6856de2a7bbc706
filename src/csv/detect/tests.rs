use super::*;

mod generated;
mod shapes;

/// What is found, in short: delimiter, quote, escape and line ending where they are not the default,
/// the rows of the header, and the lines before it.
fn found(text: &str) -> String {
    brief(&detect(whole(text), &DialectOptions::default(), &[]))
}

fn whole(text: &str) -> Sample<'_> {
    Sample { bytes: text.as_bytes(), whole: true }
}

fn brief(detection: &Detection) -> String {
    let Dialect { delimiter, quote, escape, line_ending, header_rows, skip_lines, .. } =
        &detection.dialect;
    let mut brief = format!("{:?}", String::from_utf8_lossy(delimiter));
    match quote {
        Some(b'"') => {}
        Some(quote) => brief += &format!(" quote {}", char::from(*quote)),
        None => brief += " unquoted",
    }
    if let Some(escape) = escape {
        brief += &format!(" escape {}", char::from(*escape));
    }
    if *line_ending != LineEnding::Lf {
        brief += &format!(" {line_ending:?}");
    }
    brief += &format!(" header {header_rows}");
    if *skip_lines > 0 {
        brief += &format!(" after {skip_lines}");
    }
    brief
}

#[test]
fn what_is_said_is_not_found_out() {
    let said = DialectOptions {
        delimiter: Some(b";".to_vec()),
        quote: Some(None),
        escape: Some(None),
        line_ending: Some(LineEnding::Mixed),
        skip_lines: Some(1),
        header: Some(false),
        ..DialectOptions::default()
    };
    let detection = detect(whole("a,b\n1,2\n3,4\n"), &said, &["a", "b"]);
    assert_eq!(detection.dialect, said.or_default());
    assert_eq!((detection.confidence, detection.header), (1.0, HeaderEvidence::Said));
}

#[test]
fn each_option_is_kept_and_the_others_are_found_out() {
    let text = "x,y\nid;name\n1;'a;b'\n2;c\n";
    let with = |options: DialectOptions| brief(&detect(whole(text), &options, &[]));
    let none = DialectOptions::default;
    assert_eq!(with(DialectOptions { delimiter: Some(b",".to_vec()), ..none() }), "\",\" header 1");
    assert_eq!(
        with(DialectOptions { skip_lines: Some(1), ..none() }),
        "\";\" quote ' header 1 after 1"
    );
    let bare = DialectOptions { skip_lines: Some(2), header: Some(false), ..none() };
    assert_eq!(with(bare), "\";\" quote ' header 0 after 2");
    let rows = DialectOptions { skip_lines: Some(1), header_rows: Some(2), ..none() };
    assert_eq!(with(rows), "\";\" quote ' header 2 after 1");
    let quote = DialectOptions { skip_lines: Some(1), quote: Some(Some(b'"')), ..none() };
    assert_eq!(with(quote), "\";\" header 1 after 1");
}

#[test]
fn known_names_decide() {
    let with = |text: &str, columns: &[&str]| {
        let detection = detect(whole(text), &DialectOptions::default(), columns);
        (detection.dialect.header_rows, detection.dialect.skip_lines, detection.header)
    };
    let text = "name,city\nAlice,Berlin\nBob,Paris\n";
    assert_eq!(with(text, &["name", "city"]), (1, 0, HeaderEvidence::Names));
    assert_eq!(with(text, &["City ", "NAME"]), (1, 0, HeaderEvidence::Names));
    assert_eq!(with(text, &["name", "street", "zip"]), (1, 0, HeaderEvidence::Names));
    // Numbers below text do not make a header of what has other names, but text alone may be one.
    assert_eq!(with("Alice,1\nBob,2\n", &["name", "age"]), (0, 0, HeaderEvidence::Values));
    assert_eq!(with("Alice,Berlin\nBob,Paris\n", &["name", "city"]), (1, 0, HeaderEvidence::Guess));
    // A header of numbers is one if they are names.
    assert_eq!(with("2019,2021\n1,2\n3,4\n", &["2019", "2021"]), (1, 0, HeaderEvidence::Names));
    // Where a second table begins with them, the first is not left out.
    let two = "Name city\n1,2\n3,4\nname,city\n5,6\n";
    assert_eq!(with(two, &["name", "city"]).1, 0);
    assert_eq!(with("a\nb\nname\n", &["name"]).1, 0);
    assert_eq!(with("Title\nname,city\na,b\n", &["name", "city"]), (1, 1, HeaderEvidence::Names));
}

#[test]
fn names_that_are_given_need_no_header() {
    let options = DialectOptions {
        columns: vec!["name".to_owned(), "city".to_owned()],
        ..DialectOptions::default()
    };
    let with = |text: &str| detect(whole(text), &options, &[]).dialect.header_rows;
    assert_eq!(with("Alice,Berlin\nBob,Paris\n"), 0);
    assert_eq!(with("Name,City\nBob,Paris\n"), 1);
    assert_eq!(with("x7,Paris\ny8,Berlin\nz9,Rome\n"), 0);
    assert_eq!(with("who,how old\nBob,12\nAlice,13\n"), 1);
}

#[test]
fn a_sample_that_is_cut_says_the_same() {
    let rows: String = (0..20_000).map(|i| format!("{i};\"a;b\r\n c\";{},5\r\n", i % 7)).collect();
    let text = format!("id;text;value\r\n{rows}");
    assert!(text.len() > DETECTION_BYTES_MAX);
    let whole = detect(whole(&text), &DialectOptions::default(), &[]);
    assert_eq!(brief(&whole), "\";\" header 1");
    for end in [DETECTION_BYTES_MAX, DETECTION_BYTES_MAX + 1, text.len() - 1] {
        let cut = Sample { bytes: &text.as_bytes()[..end], whole: false };
        assert_eq!(detect(cut, &DialectOptions::default(), &[]), whole);
    }
    for end in (20..2000).chain(16_300..16_500) {
        let cut = Sample { bytes: &text.as_bytes()[..end], whole: false };
        assert_eq!(brief(&detect(cut, &DialectOptions::default(), &[])), "\";\" header 1", "{end}");
    }
}

#[test]
fn nothing_is_no_evidence() {
    for text in ["", "\u{FEFF}", "\n\n", "\r\n"] {
        let detection = detect(whole(text), &DialectOptions::default(), &[]);
        assert_eq!(detection.dialect, DialectOptions::default().or_default(), "{text:?}");
        assert_eq!(detection.confidence, 0.0);
    }
}

#[test]
fn quotes_that_never_close_take_no_time() {
    // Each field begins a quote that the next ones double, to the end of the sample.
    let texts = ["\"a\"\",".repeat(60_000), "\"\n".repeat(130_000), "\"\"\"".repeat(90_000)];
    for text in &texts {
        detect(whole(text), &DialectOptions::default(), &[]);
    }
}

#[test]
fn a_row_too_long_is_no_reason_to_read_one_column() {
    let few = "id\n1\n2,3\n";
    let many: String =
        (0..100).map(|i| if i == 50 { "50,51\n".to_owned() } else { format!("{i}\n") }).collect();
    for text in [few.to_owned(), format!("id\n{many}")] {
        let sample = Sample { bytes: text.as_bytes(), whole: true };
        let detection = detect(sample, &DialectOptions::default(), &[]);
        assert_eq!(detection.dialect.delimiter, b",", "{text}");
    }
}
