use super::*;

fn refused(text: &str) -> Error {
    let error = Settings::parse(text).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    error
}

const ROUTE: &str = "[[feed]]\nname = \"orders\"\nsource = \"in/*.csv\"\ntable = \"out\"\n";

#[test]
fn a_full_file_is_read() {
    let settings = Settings::parse(
        r#"
        memory = "256MiB"
        [s3]
        endpoint = "http://localhost:9000"
        allow_http = true
        [[feed]]
        name = "orders"
        source = ["a/*.csv", "b"]
        table = "s3://lake/orders"
        format = "iceberg"
        source_key = "relative"
        on_changed = "append"
        source_file_column = false
        partition_by = ["day"]
        target_file_bytes = 1000
        [feed.columns]
        price = "decimal(15,2)"
        [feed.csv]
        delimiter = ";"
        quote = false
        "#,
    )
    .unwrap();
    assert_eq!(settings.memory, Some(256 << 20));
    assert_eq!(settings.s3.endpoint.as_deref(), Some("http://localhost:9000"));
    let feed = settings.feed("orders").unwrap();
    assert_eq!(feed.source, ["a/*.csv", "b"]);
    assert_eq!(feed.format, Format::Iceberg);
    assert_eq!(feed.source_key, SourceKey::Relative);
    assert_eq!(feed.on_changed, OnChanged::Append);
    assert_eq!(feed.source_file_column, None);
    let price: ColumnType = "decimal(15,2)".parse().unwrap();
    assert_eq!(feed.columns["price"], price.into());
    assert_eq!(feed.target_file_bytes, 1000);
    assert_eq!((feed.csv.delimiter.as_deref(), feed.csv.quote), (Some(&b";"[..]), Some(None)));
    assert_eq!(feed.sample_bytes_max, Feed::default().sample_bytes_max);
}

#[test]
fn a_feed_that_is_not_there_is_named_with_the_nearest() {
    let settings = Settings::parse(ROUTE).unwrap();
    assert_eq!(
        settings.feed("order").unwrap_err().to_string(),
        "there is no feed \"order\"; did you mean \"orders\"?"
    );
    assert!(settings.feed("xyz").unwrap_err().to_string().ends_with("the feeds are orders"));
}

#[test]
fn an_unknown_field_is_refused_with_the_nearest() {
    for (text, expected) in [
        (
            format!("{ROUTE}on_change = \"skip\"\n"),
            "line 5 (byte 59): unknown field \"on_change\" in [[feed]] \"orders\"; \
             did you mean \"on_changed\"?",
        ),
        (
            format!("{ROUTE}[feed.csv]\ndelimeter = \";\"\n"),
            "line 6 (byte 70): unknown field \"delimeter\" in [feed.csv] of \"orders\"; \
             did you mean \"delimiter\"?",
        ),
        (
            format!("{ROUTE}columns = {{ price = {{ kind = \"int64\" }} }}\n"),
            "line 5 (byte 81): unknown field \"kind\" in column \"price\" of \"orders\"; the fields \
             are type, format, null_values, decimal_separator, thousands_separator, \
             round_decimals, true_values, false_values",
        ),
        (
            "[s3]\nregoin = 'x'\n".into(),
            "line 2 (byte 5): unknown field \"regoin\" in [s3]; did you mean \"region\"?",
        ),
        (
            "[s3]\nendpoint = 'http://x'\n".into(),
            "line 1 (byte 0): [s3]: endpoint is not encrypted; write https://, or say allow_http = true",
        ),
        (
            "\nmemry = 1\n".into(),
            "line 2 (byte 1): unknown field \"memry\"; did you mean \"memory\"?",
        ),
    ] {
        assert_eq!(refused(&text).to_string(), expected);
    }
}

#[test]
fn what_must_know_whose_each_row_is_wants_a_column_that_says_so() {
    for policy in ["on_changed = \"replace\"", "dedupe = \"column\""] {
        let error = refused(&format!("{ROUTE}{policy}\nsource_file_column = false\n")).to_string();
        let reason = policy.replace('=', "is").replace("  ", " ");
        assert!(error.contains("there is no source_file_column"), "{error}");
        assert!(error.contains(&reason), "{error}");
    }
}

#[test]
fn a_wrong_value_is_refused_with_its_field_and_line() {
    for (line, expected) in [
        (
            "on_changed = \"never\"",
            "unknown variant `never`, expected one of `skip`, `append`, `replace`, `fail`",
        ),
        ("format = \"hudi\"", "format in [[feed]] \"orders\": unknown variant `hudi`"),
        ("target_file_bytes = \"128 apples\"", "\"128 apples\" is not a size"),
        ("target_file_bytes = -1", "-1 is not a size"),
        ("target_file_bytes = true", "expected a size such as"),
        ("source_file_column = true", "expected a string, or false for none"),
        ("partition_by = \"day\"", "partition_by in [[feed]] \"orders\": invalid type"),
        (
            "columns = { price = \"money\" }",
            "price in [feed.columns] of \"orders\": \"money\" is not",
        ),
        (
            "columns = { price = { type = \"money\" } }",
            "type in column \"price\" of \"orders\": \"money\" is not",
        ),
        (
            "columns = { shipped = { format = \"dd.mm.yyyy\" } }",
            "format in column \"shipped\" of \"orders\": \"dd.mm.yyyy\" is not a format of dates",
        ),
        ("columns = { price = 5 }", "expected a type such as \"int64\", or a table"),
        (
            "csv = { decimal_separator = \"\" }",
            "decimal_separator in [feed.csv] of \"orders\": \"\" is not a single character",
        ),
        (
            "csv = { quote = \"''\" }",
            "quote in [feed.csv] of \"orders\": \"''\" is not a single byte",
        ),
        (
            "csv = { header = 1 }",
            "header in [feed.csv] of \"orders\": \"1\" is neither true nor false",
        ),
    ] {
        let error = refused(&format!("{ROUTE}{line}\n"));
        assert!(error.to_string().contains(expected), "{line}: {error}");
        assert_eq!(error.position().map(|position| position.line), Some(5), "{line}: {error}");
        assert!(error.advice().is_some(), "{line}: {error}");
    }
}

#[test]
fn what_is_not_toml_is_refused_with_its_line() {
    let error = refused("memory = 1\nfeed = [[\n");
    assert!(error.position().is_some_and(|position| position.line >= 2), "{error}");
}

#[test]
fn a_feed_that_cannot_work_is_refused_with_its_line() {
    for (line, expected) in [
        ("source = []", "source is missing or empty"),
        ("source = [\"\"]", "source is missing or empty"),
        ("table = \"\"", "table is missing"),
        ("ledger = \"a/b\"", "\"a/b\" cannot be the name of a ledger"),
        ("ledger = \"\"", "\"\" cannot be the name of a ledger"),
        ("partition_by = [\"a\", \"a\"]", "partition_by names \"a\" twice"),
        ("partition_by = [\"\"]", "a column in partition_by has no name"),
        ("partition_by = [\"_source_file\"]", "partition_by names the source file column"),
        ("commit_attempts_max = 0", "commit_attempts_max is 0"),
        ("csv = { delimiter = '\"' }", "'\"' has two meanings"),
        ("csv = { thousands_separator = '.' }", "thousands_separator are the same"),
        (
            "columns = { day = { type = 'date', format = 'epoch_s' } }",
            "column \"day\": this format is not one for the type date",
        ),
        ("name = \"default\"", "there is a feed of that name already"),
    ] {
        let field = line.split(' ').next().unwrap();
        let base = "name = \"x\"\nsource = \"in\"\ntable = \"out\"\n";
        let rest: String = base
            .lines()
            .filter(|given| !given.starts_with(field))
            .fold(String::new(), |rest, given| rest + given + "\n");
        let first = "[[feed]]\nsource = \"in\"\ntable = \"out\"\n";
        let error = refused(&format!("{first}[[feed]]\n{rest}{line}\n"));
        assert!(error.message().contains(expected), "{line}: {error}");
        assert_eq!(error.position().map(|position| position.line), Some(4), "{line}: {error}");
    }
}

#[test]
fn the_longest_ledger_name_is_legal_and_one_more_is_not() {
    let of = |length: usize| format!("{ROUTE}ledger = \"{}\"\n", "a".repeat(length));
    Settings::parse(&of(LEDGER_NAME_BYTES_MAX)).unwrap();
    refused(&of(LEDGER_NAME_BYTES_MAX + 1));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Settings::read(std::path::Path::new("/nowhere/lakefeed.toml")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert_eq!(error.object(), Some("/nowhere/lakefeed.toml"));
}

#[test]
fn sizes() {
    for (text, bytes) in [
        ("0", 0),
        ("4194304", 4 << 20),
        ("128MB", 128_000_000),
        ("128MiB", 128 << 20),
        ("1.5GiB", 3 << 29),
        ("64 kib", 64 << 10),
        ("7B", 7),
        ("18446744073709551615", u64::MAX),
    ] {
        assert_eq!(parse_size(text).unwrap(), bytes, "{text}");
    }
    for text in
        ["", "MB", "1.5", "1..5MB", "-1", "5 apples", "512M", "18446744073709551615KB", "1e9"]
    {
        parse_size(text).unwrap_err();
    }
}

fn feeds_into(tables: &[(&str, &str)]) -> String {
    let feed = |(number, (table, commit)): (usize, &(&str, &str))| {
        format!(
            "[[feed]]\nname = '{number}'\nsource = 'in'\ntable = '{table}'\ncommit = '{commit}'\n"
        )
    };
    tables.iter().enumerate().map(feed).collect()
}

#[test]
fn commits_through_dynamodb_are_for_s3_alone() {
    for table in ["lake/orders", "/lake/orders", "memory:///lake"] {
        let error = refused(&feeds_into(&[(table, "dynamodb")]));
        assert!(error.message().contains("not on S3"), "{error}");
    }
    for table in ["s3://lake/orders", "s3a://lake/orders"] {
        Settings::parse(&feeds_into(&[(table, "dynamodb")])).unwrap();
    }
}

#[test]
fn feeds_of_one_table_commit_in_one_way() {
    const ORDERS: &str = "s3a://lake/orders";
    for (others, is_fine) in [
        ((ORDERS, "dynamodb"), true),
        (("s3a://lake/orders/", "dynamodb"), true),
        (("s3://lake/returns", "conditional_put"), true),
        ((ORDERS, "conditional_put"), false),
        (("s3://lake/orders", "conditional_put"), false),
        (("s3://lake/orders", "dynamodb"), false),
    ] {
        let text = feeds_into(&[(ORDERS, "dynamodb"), others]);
        assert_eq!(Settings::parse(&text).is_ok(), is_fine, "{others:?}");
    }
    let text = feeds_into(&[(ORDERS, "conditional_put"), ("s3://lake/orders", "conditional_put")]);
    Settings::parse(&text).unwrap();
}

#[test]
fn a_command_that_names_a_table_commits_as_its_feeds_do() {
    let settings = Settings::parse(&feeds_into(&[("s3a://lake/orders", "dynamodb")])).unwrap();
    for (address, table, commit) in [
        ("s3://lake/orders/", "s3a://lake/orders", CommitProtocol::DynamoDb),
        ("s3a://lake/orders", "s3a://lake/orders", CommitProtocol::DynamoDb),
        ("s3://lake/order", "s3://lake/order", CommitProtocol::ConditionalPut),
        ("lake/orders", "lake/orders", CommitProtocol::ConditionalPut),
    ] {
        let feed = settings.feed_of_table(address);
        assert_eq!((feed.table.as_str(), feed.commit), (table, commit), "{address}");
    }
}

#[test]
fn only_delta_tables_are_committed_to_through_dynamodb() {
    let text = feeds_into(&[("s3://lake/orders", "dynamodb")]);
    Settings::parse(&text).unwrap();
    let error = Settings::parse(&format!("{text}\nformat = \"iceberg\"")).unwrap_err();
    assert!(error.to_string().contains("not Delta"), "{error}");
}

#[test]
fn a_command_that_names_a_table_knows_its_format() {
    let text =
        "[[feed]]\nname = \"a\"\nsource = \"b/**\"\ntable = \"lake/orders\"\nformat = \"iceberg\"";
    let settings = Settings::parse(text).unwrap();
    assert_eq!(settings.feed_of_table("lake/orders").format, Format::Iceberg);
    assert_eq!(settings.feed_of_table("lake/others").format, Format::Delta);
}
