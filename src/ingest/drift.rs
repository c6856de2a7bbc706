//! From an object's header to the table's columns, and what the table lacks for it.
//!
//! Objects and tables drift apart: an object may lack a column that the table has, or have one more.
//! [`Matcher`] says what the feed's policies make of it. Where the table is to have other columns first,
//! that is a [`Drift`], and no error: the object is set aside, and taken with the change that it needs
//! (see `evolve`).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema};

use super::schema::{formats, new_column};
use super::widen;
use crate::config::{
    ColumnOptions, DriftOptions, Feed, MatchBy, MissingColumns, NameCase, NewColumns,
};
use crate::csv::{
    DecodePlan, Dialect, Formats, Inference, Limits, RowRules, Sample, Target, ValueFormat,
    folded_name, legal_name,
};
use crate::error::{Error, ErrorKind, Result};
use crate::table::{Layout, SchemaChange, WiderTypes};

/// What an object's header comes to.
#[derive(Debug, PartialEq)]
pub(super) enum Fit {
    /// Its rows fit into the table's columns, decoded so.
    Fits(DecodePlan),
    /// The table is to have other columns first.
    Drifts(Drift),
}

/// What the table lacks for an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Drift {
    /// The object's columns that the table is to have.
    pub new: Vec<String>,
    /// Whether there is no column for what is rescued.
    pub needs_rescued: bool,
    /// The table's columns that are to be wider.
    pub widened: Vec<(String, DataType)>,
}

impl Drift {
    fn is_none(&self) -> bool {
        self.new.is_empty() && !self.needs_rescued && self.widened.is_empty()
    }
}

/// Finds the table's columns for the fields of objects.
pub(super) struct Matcher<'a> {
    layout: &'a Layout,
    options: DriftOptions,
    /// The columns that objects feed, in order: not those that are ours to fill.
    columns: Vec<usize>,
    /// The column that takes what is rescued, if there is one.
    rescued: Option<usize>,
    can_rescue: bool,
    /// How columns can be widened, where they can be and the feed wants it.
    wider: Option<WiderTypes>,
    /// The columns that must not be.
    fixed: Vec<usize>,
    formats: Formats,
    rules: RowRules,
}

impl<'a> Matcher<'a> {
    pub fn new(feed: &Feed, layout: &'a Layout, wider: Option<WiderTypes>) -> Self {
        let position = |name: &str| layout.schema.index_of(name).ok();
        let rescued = feed.rescued_column().and_then(position);
        let ours = [feed.source_file_column.as_deref().and_then(position), rescued];
        let columns =
            (0..layout.schema.fields().len()).filter(|&i| !ours.contains(&Some(i))).collect();
        let can_rescue = feed.rescued_column().is_some();
        let has_type = |(_, options): &(&String, &ColumnOptions)| options.column_type.is_some();
        let given = feed.columns.iter().filter(has_type).filter_map(|(name, _)| position(name));
        Self {
            layout,
            options: feed.drift,
            columns,
            rescued,
            can_rescue,
            wider: wider.filter(|_| feed.drift.widen),
            fixed: layout.partition_columns.iter().copied().chain(given).collect(),
            formats: formats(feed),
            rules: feed.csv.row_rules(),
        }
    }

    /// What becomes of an object with this header, of which `sample` is the start.
    ///
    /// # Errors
    /// [`ErrorKind::SchemaMismatch`] for a field that the policies have no place for, and for a column
    /// that no field feeds and that must be fed.
    pub fn fit(
        &self,
        header: &[String],
        dialect: &Dialect,
        limits: Limits,
        sample: Sample<'_>,
    ) -> Result<Fit> {
        let found = self.find(header, dialect);
        let is_new = |(name, column): (&String, &Option<usize>)| match column {
            Some(_) => None,
            None => Some(name.clone()),
        };
        let new: Vec<String> = header.iter().zip(&found).filter_map(is_new).collect();
        self.check_places(header, &found, &new, self.goes_by_name(dialect))?;
        self.check_fed(&found)?;
        let adds = !new.is_empty() && self.options.new_columns == NewColumns::Add;
        if adds {
            self.check_addable(&new)?;
        }
        let target = |(name, column): (&String, Option<usize>)| match column {
            Some(column) => Target::Column(column),
            None if self.options.new_columns == NewColumns::Rescue => Target::Rescued(name.clone()),
            None => Target::Ignored,
        };
        let plan = DecodePlan {
            schema: Arc::clone(&self.layout.schema),
            fields: header.iter().zip(found).map(target).collect(),
            rescued: self.rescued,
            formats: self.formats(),
            rules: self.rules,
        };
        let drift = Drift {
            new: if adds { new } else { Vec::new() },
            needs_rescued: self.can_rescue && self.rescued.is_none(),
            widened: self.widened(&plan, dialect, limits, sample),
        };
        Ok(match !drift.is_none() && has_rows(sample, dialect)? {
            true => Fit::Drifts(drift),
            false => Fit::Fits(plan),
        })
    }

    /// The columns that have to be wider for the sample.
    fn widened(
        &self,
        plan: &DecodePlan,
        dialect: &Dialect,
        limits: Limits,
        sample: Sample<'_>,
    ) -> Vec<(String, DataType)> {
        let Some(wider) = self.wider else { return Vec::new() };
        let columns = self.columns.iter().copied().filter(|column| !self.fixed.contains(column));
        let wanted = widen::wanted(plan, columns, wider, dialect, limits, sample);
        let named = |(column, data_type)| (self.name(column).to_owned(), data_type);
        wanted.into_iter().map(named).collect()
    }

    /// The column of each field, where there is one.
    pub fn find(&self, header: &[String], dialect: &Dialect) -> Vec<Option<usize>> {
        if !self.goes_by_name(dialect) {
            return (0..header.len()).map(|position| self.columns.get(position).copied()).collect();
        }
        let fold = match self.options.case {
            NameCase::Insensitive => folded_name,
            NameCase::Sensitive => legal_name,
        };
        let exact: HashMap<&str, usize> = self.columns.iter().map(|&i| (self.name(i), i)).collect();
        let folded: HashMap<String, usize> =
            exact.iter().map(|(name, &i)| (fold(name), i)).collect();
        let column_of =
            |name: &String| exact.get(name.as_str()).or_else(|| folded.get(&fold(name))).copied();
        header.iter().map(column_of).collect()
    }

    fn goes_by_name(&self, dialect: &Dialect) -> bool {
        let has_names = dialect.has_header() || !dialect.columns.is_empty();
        has_names && self.options.match_by == MatchBy::Name
    }

    /// Refuses fields that have no place, or not one of their own.
    fn check_places(
        &self,
        header: &[String],
        found: &[Option<usize>],
        new: &[String],
        by_name: bool,
    ) -> Result<()> {
        let policy = self.options.new_columns;
        if policy == NewColumns::Fail && !new.is_empty() {
            return Err(mismatch(match by_name {
                true => format!(
                    "the table has no column for {new:?} of its header; the table's are {:?}",
                    self.names()
                ),
                false => format!(
                    "its rows have {} fields, and the table has {} columns for them",
                    header.len(),
                    self.columns.len()
                ),
            }));
        }
        // Another sort of file, or one without a header: what it has would be columns for ever, or lost.
        if policy != NewColumns::Rescue && new.len() == header.len() {
            return Err(mismatch(format!(
                "the table has none of the columns of its header, {new:?}; the table's are {:?}",
                self.names()
            )));
        }
        let mut taken = HashSet::new();
        let twice = |(_, column): &(&String, &Option<usize>)| {
            column.is_some_and(|column| !taken.insert(column))
        };
        match header.iter().zip(found).find(twice) {
            Some((name, _)) => {
                Err(mismatch(format!("two columns of its header are the table's {name:?}")))
            }
            None => Ok(()),
        }
    }

    /// Refuses an object that leaves a column without values which must have some.
    fn check_fed(&self, found: &[Option<usize>]) -> Result<()> {
        let unfed = self.columns.iter().filter(|&&column| !found.contains(&Some(column)));
        for &column in unfed {
            if !self.layout.schema.field(column).is_nullable() {
                let name = self.name(column);
                return Err(mismatch(format!("it has no column {name:?}, which may not be null")));
            }
            if self.options.missing_columns == MissingColumns::Fail {
                return Err(mismatch(format!("it has no column {:?}", self.name(column)))
                    .with_advice("mend the object's header, or say missing_columns = \"null\""));
            }
        }
        Ok(())
    }

    /// Refuses names that the table could not tell from others.
    fn check_addable(&self, new: &[String]) -> Result<()> {
        let all = self.layout.schema.fields().iter();
        let mut taken: HashMap<String, &str> =
            all.map(|field| (folded_name(field.name()), field.name().as_str())).collect();
        for name in new {
            if let Some(other) = taken.insert(folded_name(name), name) {
                return Err(mismatch(format!(
                    "its column {name:?} cannot be added: the table could not tell it from {other:?}"
                ))
                .with_advice("rename the column, or say new_columns = \"rescue\""));
            }
        }
        Ok(())
    }

    fn name(&self, column: usize) -> &'a str {
        self.layout.schema.field(column).name()
    }

    /// How the values of each column are written.
    fn formats(&self) -> Vec<Arc<ValueFormat>> {
        let fields = self.layout.schema.fields().iter();
        fields.map(|field| self.formats.of(&folded_name(field.name()))).collect()
    }

    /// The names of the columns that objects feed.
    pub fn names(&self) -> Vec<&'a str> {
        self.columns.iter().map(|&column| self.name(column)).collect()
    }
}

/// The columns that a table is to be given, so that objects of these drifts fit. Their types are those of
/// `feed`, or `inferred` from a sample of the objects; what was not in the sample is left for later. A
/// column that several want wider becomes as wide as any of them wants it.
pub(super) fn change<'a>(
    feed: &Feed,
    drifts: impl Iterator<Item = &'a Drift>,
    inferred: &Schema,
    wider: Option<WiderTypes>,
) -> SchemaChange {
    let columns: HashMap<String, &FieldRef> =
        inferred.fields().iter().map(|field| (folded_name(field.name()), field)).collect();
    let mut change = SchemaChange::default();
    let mut seen = HashSet::new();
    let mut needs_rescued = false;
    for drift in drifts {
        needs_rescued |= drift.needs_rescued;
        for (name, data_type) in &drift.widened {
            let field = || Arc::new(Field::new(name, data_type.clone(), true));
            match change.widened.iter_mut().find(|field| field.name() == name) {
                Some(known) => {
                    if wider.is_some_and(|wider| wider(known.data_type()).contains(data_type)) {
                        *known = field();
                    }
                }
                None => change.widened.push(field()),
            }
        }
        for name in &drift.new {
            let folded = folded_name(name);
            let Some(&inferred) = columns.get(&folded) else { continue };
            if seen.insert(folded) {
                let named = Field::new(name, inferred.data_type().clone(), true);
                change.added.push(Arc::new(new_column(feed, &named)));
            }
        }
    }
    if let Some(name) = feed.rescued_column().filter(|_| needs_rescued) {
        change.added.push(Arc::new(Field::new(name, DataType::Utf8, true)));
    }
    change
}

/// Whether a row is to be seen, or may come after the sample: an object without any changes no table.
fn has_rows(sample: Sample<'_>, dialect: &Dialect) -> Result<bool> {
    if !sample.whole {
        return Ok(true);
    }
    let mut inference = Inference::new(folded_name).tolerating_bad_rows(true);
    inference.observe(sample, dialect)?;
    Ok(inference.rows() > 0)
}

fn mismatch(message: String) -> Error {
    Error::new(ErrorKind::SchemaMismatch, message).with_advice(
        "mend the object's header, add the column to the table (ALTER TABLE t ADD COLUMN), or say what \
         is to become of new columns with new_columns in [feed.drift]",
    )
}

#[cfg(test)]
mod tests;
