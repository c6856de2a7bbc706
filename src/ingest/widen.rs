//! Whether an object's values want wider columns than the table has.
//!
//! A sample of the object is decoded for trial, by the decoder that will decode all of it: whatever it
//! rejects for a column's type, and takes when the type is a wider one, wants that. What comes after the
//! sample and does not fit is a bad row.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};

use crate::csv::{DecodePlan, Decoder, Dialect, Limits, LongRows, RowRules, Sample, Target};
use crate::error::Result;
use crate::table::WiderTypes;

/// Trials of each type: a row is rejected for its first bad value, which hides the others.
const PASSES_MAX: usize = 4;

/// The columns of `plan` that are to be wider, among `columns`, each with the narrowest type that most
/// values of the sample fit into.
pub(super) fn wanted(
    plan: &DecodePlan,
    columns: impl Iterator<Item = usize>,
    wider: WiderTypes,
    dialect: &Dialect,
    limits: Limits,
    sample: Sample<'_>,
) -> Vec<(usize, DataType)> {
    let candidates: HashMap<usize, Vec<DataType>> =
        columns.map(|column| (column, wider(plan.schema.field(column).data_type()))).collect();
    let levels = candidates.values().map(Vec::len).max().unwrap_or_default();
    let text = complete_lines(sample);
    let rejects = |types: &HashMap<usize, DataType>| {
        // What cannot be decoded at all is for the decoding proper to say.
        rejects_by_column(&with_types(plan, types), dialect, limits, text).unwrap_or_default()
    };
    let mut types = HashMap::new();
    for _ in 0..PASSES_MAX {
        let before = rejects(&types);
        let mut better: HashMap<usize, (usize, DataType)> = HashMap::new();
        for level in 0..levels {
            let mut trial = types.clone();
            let tried = before
                .keys()
                .filter_map(|column| Some((*column, candidates.get(column)?.get(level)?.clone())));
            let tried: Vec<(usize, DataType)> = tried.collect();
            trial.extend(tried.iter().cloned());
            let after = rejects(&trial);
            for (column, data_type) in tried {
                let count = after.get(&column).copied().unwrap_or_default();
                let least = better.get(&column).map_or(before[&column], |(least, _)| *least);
                if count < least {
                    better.insert(column, (count, data_type));
                }
            }
        }
        if better.is_empty() {
            break;
        }
        types.extend(better.into_iter().map(|(column, (_, data_type))| (column, data_type)));
    }
    let mut wanted: Vec<(usize, DataType)> = types.into_iter().collect();
    wanted.sort_unstable_by_key(|(column, _)| *column);
    wanted
}

/// The sample without a line that may be cut.
fn complete_lines(sample: Sample<'_>) -> &[u8] {
    let end = memchr::memrchr2(b'\n', b'\r', sample.bytes).map_or(0, |last| last + 1);
    if sample.whole { sample.bytes } else { &sample.bytes[..end] }
}

fn with_types(plan: &DecodePlan, types: &HashMap<usize, DataType>) -> DecodePlan {
    let field = |(column, field): (usize, &Arc<Field>)| match types.get(&column) {
        Some(data_type) => Arc::new(field.as_ref().clone().with_data_type(data_type.clone())),
        None => Arc::clone(field),
    };
    let fields: Vec<Arc<Field>> = plan.schema.fields().iter().enumerate().map(field).collect();
    let target = |target: &Target| target.column().map_or(Target::Ignored, Target::Column);
    DecodePlan {
        schema: Arc::new(Schema::new(fields)),
        fields: plan.fields.iter().map(target).collect(),
        rescued: None,
        formats: plan.formats.clone(),
        // Whatever becomes of bad rows, here they count.
        rules: RowRules { rescue: false, long_rows: LongRows::Ignore, ..plan.rules },
    }
}

/// How many rows are rejected for a value of each column.
fn rejects_by_column(
    plan: &DecodePlan,
    dialect: &Dialect,
    limits: Limits,
    mut text: &[u8],
) -> Result<HashMap<usize, usize>> {
    let mut decoder = Decoder::new(plan.clone(), dialect, limits)?;
    let mut counts = HashMap::new();
    loop {
        let decoded = match decoder.decode(&mut text)? {
            Some(decoded) => decoded,
            None => match decoder.finish()? {
                Some(decoded) => decoded,
                None => return Ok(counts),
            },
        };
        let names = decoded.rejects.into_iter().filter_map(|it| it.complaint.position.column);
        for column in names.filter_map(|name| plan.schema.index_of(&name).ok()) {
            *counts.entry(column).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::TimeUnit;

    use super::*;

    const TIME: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

    fn wider(narrow: &DataType) -> Vec<DataType> {
        match narrow {
            DataType::Int8 => vec![DataType::Int16, DataType::Int32, DataType::Int64],
            DataType::Int32 => vec![DataType::Int64],
            DataType::Date32 => vec![TIME],
            _ => vec![],
        }
    }

    fn wanted_by(types: &[DataType], text: &str, whole: bool) -> Vec<(usize, DataType)> {
        let field = |(i, t): (usize, &DataType)| Field::new(format!("c{i}"), t.clone(), true);
        let schema = Schema::new(types.iter().enumerate().map(field).collect::<Vec<_>>());
        let fields = (0..types.len()).map(Target::Column).collect();
        let plan = DecodePlan {
            schema: Arc::new(schema),
            fields,
            rescued: None,
            formats: vec![],
            rules: RowRules::default(),
        };
        let sample = Sample { bytes: text.as_bytes(), whole };
        let (dialect, limits) = (Dialect::default(), Limits::default());
        wanted(&plan, 0..types.len(), wider, &dialect, limits, sample)
    }

    #[test]
    fn a_column_is_as_wide_as_its_values_and_no_wider() {
        let wanted = |text: &str| wanted_by(&[DataType::Int8], text, true);
        assert_eq!(wanted("c0\n127\n\n-5\n"), []);
        assert_eq!(wanted("c0\n127\n128\n"), [(0, DataType::Int16)]);
        assert_eq!(wanted("c0\n300\n3000000000\n7\n"), [(0, DataType::Int64)]);
    }

    #[test]
    fn what_fits_no_type_widens_nothing() {
        let wanted = |text: &str| wanted_by(&[DataType::Int8], text, true);
        assert_eq!(wanted("c0\nabc\n1\n"), []);
        assert_eq!(wanted("c0\nabc\n300\n"), [(0, DataType::Int16)]);
        assert_eq!(wanted("c0\n1,2\n"), []);
    }

    #[test]
    fn columns_that_hide_behind_others_are_found() {
        let types = [DataType::Int8, DataType::Int32, DataType::Date32];
        let text = "c0,c1,c2\n1000,3000000000,2024-02-29 10:00\n";
        let all = [(0, DataType::Int16), (1, DataType::Int64), (2, TIME)];
        assert_eq!(wanted_by(&types, text, true), all);
    }

    #[test]
    fn a_cut_line_says_nothing() {
        assert_eq!(wanted_by(&[DataType::Int8], "c0\n1\n300", false), []);
        assert_eq!(wanted_by(&[DataType::Int8], "c0\n1\n300", true), [(0, DataType::Int16)]);
    }
}
