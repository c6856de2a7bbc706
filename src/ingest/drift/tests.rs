use std::collections::BTreeMap;

use arrow::datatypes::{Field, Schema, TimeUnit};

use super::*;
use crate::config::ColumnType;

fn layout(columns: &[(&str, bool)]) -> Layout {
    let field = |(name, nullable): &(&str, bool)| Field::new(*name, DataType::Int64, *nullable);
    let mut fields: Vec<Field> = columns.iter().map(field).collect();
    fields.push(Field::new("_source_file", DataType::Utf8, true));
    let schema = Arc::new(Schema::new(fields));
    let bounded_columns = vec![true; schema.fields().len()];
    Layout {
        file_schema: Arc::clone(&schema),
        schema,
        partition_columns: vec![],
        stores_partition_columns: false,
        bounded_columns,
    }
}

fn orders() -> Layout {
    layout(&[("id", true), ("unit_price", true)])
}

fn feed(new_columns: NewColumns) -> Feed {
    let drift = DriftOptions { new_columns, ..DriftOptions::default() };
    Feed { drift, ..Feed::default() }
}

fn fit_in(feed: &Feed, layout: &Layout, header: &[&str], dialect: &Dialect) -> Result<Fit> {
    let header: Vec<String> = header.iter().map(|name| (*name).to_owned()).collect();
    let sample = Sample { bytes: b"a,b,c\n1,2,3\n", whole: true };
    Matcher::new(feed, layout, None).fit(&header, dialect, Limits::default(), sample)
}

fn fit(feed: &Feed, header: &[&str]) -> Result<Fit> {
    fit_in(feed, &orders(), header, &Dialect::default())
}

fn targets(fit: Result<Fit>) -> Vec<Target> {
    match fit.unwrap() {
        Fit::Fits(plan) => plan.fields,
        Fit::Drifts(drift) => panic!("{drift:?}"),
    }
}

fn lacks(fit: Result<Fit>) -> Drift {
    match fit.unwrap() {
        Fit::Drifts(drift) => drift,
        Fit::Fits(plan) => panic!("{:?}", plan.fields),
    }
}

#[track_caller]
fn refused(fit: Result<Fit>, expected: &str) {
    let error = fit.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SchemaMismatch);
    assert!(error.message().contains(expected), "{error}");
    assert!(error.advice().is_some(), "{error}");
}

#[test]
fn names_are_found_whatever_their_case_and_their_order() {
    let feed = feed(NewColumns::Fail);
    assert_eq!(targets(fit(&feed, &["Unit Price", "ID"])), [Target::Column(1), Target::Column(0)]);
    refused(fit(&feed, &["id", "unit_price", "Unit Price"]), "two columns of its header");
}

#[test]
fn names_in_another_case_are_others_where_the_feed_says_so() {
    let mut feed = feed(NewColumns::Ignore);
    feed.drift.case = NameCase::Sensitive;
    assert_eq!(targets(fit(&feed, &["id", "Unit Price"])), [Target::Column(0), Target::Ignored]);
    assert_eq!(targets(fit(&feed, &["id", "unit price"])), [Target::Column(0), Target::Column(1)]);
    // A table can still not tell them apart.
    feed.drift.new_columns = NewColumns::Add;
    refused(fit(&feed, &["id", "Unit Price"]), "could not tell it from \"unit_price\"");
}

#[test]
fn a_new_column_is_what_the_feed_makes_of_it() {
    let header = ["id", "unit_price", "colour"];
    refused(fit(&feed(NewColumns::Fail), &header), "no column for [\"colour\"]");
    let ignored = targets(fit(&feed(NewColumns::Ignore), &header));
    assert_eq!(ignored, [Target::Column(0), Target::Column(1), Target::Ignored]);
    let added = Drift { new: vec!["colour".to_owned()], needs_rescued: false, widened: vec![] };
    assert_eq!(lacks(fit(&feed(NewColumns::Add), &header)), added);
    let rescued = Drift { new: vec![], needs_rescued: true, widened: vec![] };
    assert_eq!(lacks(fit(&feed(NewColumns::Rescue), &header)), rescued);
}

#[test]
fn what_is_rescued_goes_into_the_column_that_is_for_it() {
    let feed = feed(NewColumns::Rescue);
    let layout = layout(&[("id", true), ("_rescued", true)]);
    let fit = fit_in(&feed, &layout, &["colour", "id"], &Dialect::default()).unwrap();
    let Fit::Fits(plan) = fit else { panic!("{fit:?}") };
    assert_eq!(plan.fields, [Target::Rescued("colour".to_owned()), Target::Column(0)]);
    assert_eq!(plan.rescued, Some(1));
}

#[test]
fn an_object_of_another_sort_gives_the_table_no_columns() {
    for policy in [NewColumns::Add, NewColumns::Ignore] {
        refused(fit(&feed(policy), &["17", "4.50", "red"]), "none of the columns");
    }
}

#[test]
fn an_object_without_rows_changes_no_table() {
    let header = ["id".to_owned(), "colour".to_owned()];
    let (feed, layout) = (feed(NewColumns::Add), orders());
    let fit = |bytes: &'static [u8], whole| {
        let sample = Sample { bytes, whole };
        let matcher = Matcher::new(&feed, &layout, None);
        matcher.fit(&header, &Dialect::default(), Limits::default(), sample)
    };
    assert_eq!(targets(fit(b"id,colour\n", true)), [Target::Column(0), Target::Ignored]);
    lacks(fit(b"id,colour\n1,red\n", true));
    lacks(fit(b"id,colour\n", false));
}

#[test]
fn a_missing_column_is_null_or_refused() {
    let mut feed = feed(NewColumns::Fail);
    assert_eq!(targets(fit(&feed, &["id"])), [Target::Column(0)]);
    feed.drift.missing_columns = MissingColumns::Fail;
    refused(fit(&feed, &["id"]), "no column \"unit_price\"");
    feed.drift.missing_columns = MissingColumns::Null;
    let required = layout(&[("id", true), ("unit_price", false)]);
    refused(fit_in(&feed, &required, &["id"], &Dialect::default()), "may not be null");
}

#[test]
fn positions_count_where_there_are_no_names_or_the_feed_says_so() {
    let mut feed = feed(NewColumns::Fail);
    let both = [Target::Column(0), Target::Column(1)];
    let headless = Dialect { header_rows: 0, ..Dialect::default() };
    let generated = ["column_1", "column_2", "column_3"];
    assert_eq!(targets(fit_in(&feed, &orders(), &generated[..2], &headless)), both);
    refused(fit_in(&feed, &orders(), &generated, &headless), "have 3 fields");
    // Names that the feed gives are names.
    let named = Dialect { columns: vec!["unit_price".into(), "id".into()], ..headless.clone() };
    let found = targets(fit_in(&feed, &orders(), &["unit_price", "id"], &named));
    assert_eq!(found, [Target::Column(1), Target::Column(0)]);

    feed.drift.match_by = MatchBy::Position;
    assert_eq!(targets(fit(&feed, &["a", "b"])), both);
    feed.drift.new_columns = NewColumns::Add;
    assert_eq!(lacks(fit(&feed, &["a", "b", "colour"])).new, ["colour"]);
    assert_eq!(lacks(fit_in(&feed, &orders(), &generated, &headless)).new, ["column_3"]);
}

#[test]
fn a_column_of_ours_is_nobody_elses() {
    refused(fit(&feed(NewColumns::Add), &["id", "_source_file"]), "from \"_source_file\"");
}

#[test]
fn a_change_is_what_the_objects_need_together() {
    let drifts = [
        Drift {
            new: vec!["Colour".into(), "made on".into()],
            needs_rescued: false,
            widened: vec![],
        },
        Drift {
            new: vec!["colour".into(), "code".into(), "late".into()],
            needs_rescued: true,
            widened: vec![],
        },
    ];
    let time = DataType::Timestamp(TimeUnit::Microsecond, None);
    let inferred = Schema::new(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("Colour", DataType::Utf8, true),
        Field::new("made on", time.clone(), true),
        Field::new("code", DataType::Int64, true),
    ]);
    let mut feed = feed(NewColumns::Add);
    feed.columns =
        BTreeMap::from([("code".to_owned(), "string".parse::<ColumnType>().unwrap().into())]);
    let types = |feed: &Feed| {
        let change = change(feed, drifts.iter(), &inferred, None);
        let field = |field: &Arc<Field>| (field.name().clone(), field.data_type().clone());
        change.added.iter().map(field).collect::<Vec<_>>()
    };
    let text = |name: &str| (name.to_owned(), DataType::Utf8);
    // What was not seen in the sample is for another time.
    let made_on = ("made_on".to_owned(), time);
    assert_eq!(types(&feed), [text("Colour"), made_on, text("code")]);
    feed.csv.infer = false;
    assert_eq!(types(&feed), [text("Colour"), text("made_on"), text("code")]);
    feed.drift.new_columns = NewColumns::Rescue;
    assert_eq!(types(&feed).last(), Some(&text("_rescued")));
}
