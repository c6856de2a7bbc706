//! Rows to a batch, column by column.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::filter;
use arrow::datatypes::{DataType, FieldRef};
use arrow::error::ArrowError;

use super::column::{Absent, Column, Rows, column_for};
use super::decode::{DecodePlan, Decoded, Limits, LongRows, RowRules, Target};
use super::dialect::Dialect;
use super::irregular::Irregular;
use super::reject::{Complaint, Fault, Faults, FieldAt, Reject, RejectKind};
use super::rescue::{Rescue, Wreck};
use crate::error::{Error, ErrorKind, Position, Result};

/// Some rows of the buffer that lie side by side.
pub(super) struct Slice<'a> {
    /// All of them; what the bounds say of irregular ones means nothing.
    pub(super) rows: Rows<'a>,
    /// The irregular ones among them, in order.
    pub(super) irregular: &'a [Irregular],
}

impl<'a> Slice<'a> {
    /// The rows in order, those together that are alike, with the number of the first.
    fn runs(&self) -> Vec<(usize, Rows<'a>)> {
        let mut runs = Vec::with_capacity(2 * self.irregular.len() + 1);
        let mut next = 0;
        for irregular in self.irregular {
            if next < irregular.row {
                runs.push((next, self.rows.slice(next..irregular.row)));
            }
            runs.push((irregular.row, irregular.rows(self.rows.reader)));
            next = irregular.row + 1;
        }
        if next < self.rows.count() {
            runs.push((next, self.rows.slice(next..self.rows.count())));
        }
        runs
    }

    fn irregular(&self, row: usize) -> Option<&'a Irregular> {
        let place = self.irregular.binary_search_by_key(&row, |it| it.row).ok()?;
        Some(&self.irregular[place])
    }
}

/// A batch that is being filled.
pub(super) struct BatchBuilder {
    plan: DecodePlan,
    dialect: Dialect,
    /// The fields that have a column of their own, in order.
    wanted: Vec<FieldAt>,
    columns: Vec<Box<dyn Column>>,
    rescue: Option<Rescue>,
    /// What the values of fixed width of one row take.
    row_width_bytes: usize,
    /// How many rows are parsed before it is known what their rescued values take: they can be longer
    /// than the rows, by the columns' names.
    rows_at_once: usize,

    rows: usize,
    rejected_rows: Vec<usize>,
    rejects: Vec<Reject>,
    rescued: Vec<Complaint>,
    /// What the rescued values take.
    rescued_bytes: usize,
}

impl BatchBuilder {
    /// # Errors
    /// [`ErrorKind::SchemaMismatch`] for a column of a type that CSV cannot fill, or one that must
    /// not be null and that no field feeds; [`ErrorKind::Internal`] for a plan that contradicts itself.
    pub(super) fn new(plan: DecodePlan, dialect: &Dialect, limits: &Limits) -> Result<Self> {
        check_rescue(&plan)?;
        let wanted = wanted_fields(&plan)?;
        let columns = columns_of(&plan, &wanted, dialect)?;
        let rescue = Rescue::new(&plan, dialect, limits.row_bytes_max);
        let widths = plan.schema.fields().iter().map(|f| f.data_type().primitive_width());
        let names_bytes = rescue.as_ref().map_or(0, |rescue| rescue.names_bytes);
        let rows_at_once = (limits.batch_bytes_max / 4).checked_div(names_bytes);
        Ok(Self {
            dialect: dialect.clone(),
            wanted,
            columns,
            rescue,
            // Text has an offset of four bytes.
            row_width_bytes: widths.map(|width| width.unwrap_or(4)).sum(),
            rows_at_once: rows_at_once.map_or(usize::MAX, |rows| rows.max(1)),
            rows: 0,
            rejected_rows: Vec::new(),
            rejects: Vec::new(),
            rescued: Vec::new(),
            rescued_bytes: 0,
            plan,
        })
    }

    /// How many rows were taken, rejected ones included.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn rules(&self) -> RowRules {
        self.plan.rules
    }

    /// How many rows may be parsed at once.
    pub(super) fn rows_at_once(&self) -> usize {
        self.rows_at_once
    }

    /// What so many rows take beside their text, as far as it is known.
    pub(super) fn bytes_beside_text(&self, rows: usize) -> u64 {
        (rows * self.row_width_bytes + self.rescued_bytes) as u64
    }

    /// Takes rows, of which `faults` were found already. `position_of` says where in the object a byte
    /// of the buffer is; it is asked in their order.
    pub(super) fn parse(
        &mut self,
        slice: &Slice<'_>,
        mut faults: Faults,
        position_of: impl FnMut(usize) -> Position,
    ) {
        let runs = slice.runs();
        for &field in &self.wanted {
            let column = &mut self.columns[field.column];
            for &(first, rows) in &runs {
                faults.begin(field, first);
                if field.position < rows.fields_per_row() {
                    column.parse(rows, field.position, &mut faults);
                } else {
                    column.parse_absent(0, &mut faults);
                }
            }
        }
        self.settle(slice, faults, position_of);
        self.rows += slice.rows.count();
    }

    /// Rescues or rejects each row that has faults.
    fn settle(
        &mut self,
        slice: &Slice<'_>,
        mut faults: Faults,
        mut position_of: impl FnMut(usize) -> Position,
    ) {
        let rows = slice.rows.count();
        let suspects = match &mut self.rescue {
            None => faults.rows(),
            Some(rescue) if rescue.has_fields() => (0..rows).collect(),
            Some(_) if !faults.is_empty() || !slice.irregular.is_empty() => (0..rows).collect(),
            Some(rescue) => {
                rescue.append_nulls(rows);
                return;
            }
        };
        for row in suspects {
            let irregular = slice.irregular(row);
            let range = irregular.map_or_else(|| slice.rows.range(row), |it| it.range.clone());
            let one = || slice.rows.slice(row..row + 1);
            let faults = faults.take(row);
            let wreck = Wreck {
                row: irregular.map_or_else(one, |it| it.rows(slice.rows.reader)),
                bytes: &slice.rows.buffer[range.clone()],
                irregular,
                faults: &faults,
            };
            match self.rescue(&wreck) {
                Ok(()) => {
                    let complaint = faults.into_iter().next();
                    let complaint =
                        complaint.map(|it| self.complaint(it, position_of(range.start)));
                    self.rescued.extend(complaint);
                }
                Err(fault) => {
                    let complaint = self.complaint(fault, position_of(range.start));
                    self.rejects.push(Reject { complaint, raw: wreck.bytes.to_vec() });
                    self.rejected_rows.push(self.rows + row);
                }
            }
        }
    }

    /// Rescues what there is to be rescued of a row.
    ///
    /// # Errors
    /// The fault that the row is rejected for.
    fn rescue(&mut self, wreck: &Wreck<'_>) -> Result<(), Fault> {
        let fatal = wreck.faults.iter().find(|fault| !self.is_rescuable(fault)).cloned();
        let Some(rescue) = &mut self.rescue else {
            return fatal.map_or(Ok(()), Err);
        };
        let rescued = match fatal {
            Some(fault) => Err(fault),
            None => rescue.append(wreck, &self.plan, &self.dialect),
        };
        match rescued {
            Ok(bytes) => self.rescued_bytes += bytes,
            Err(_) => rescue.append_nulls(1),
        }
        rescued.map(|_| ())
    }

    fn is_rescuable(&self, fault: &Fault) -> bool {
        let is_nullable = |field: FieldAt| self.plan.schema.field(field.column).is_nullable();
        self.plan.rules.rescue
            && match fault.kind {
                // Of the first, not all is there.
                RejectKind::RowTooLong | RejectKind::RescueTooLong | RejectKind::MissingValue => {
                    false
                }
                RejectKind::BadValue => fault.field.is_some_and(is_nullable),
                _ => true,
            }
    }

    fn complaint(&self, fault: Fault, position: Position) -> Complaint {
        let column = fault.field.map(|at| self.plan.schema.field(at.column).name().clone());
        let position = Position { column, ..position };
        Complaint { position, kind: fault.kind, reason: fault.reason }
    }

    /// The batch as far as it is filled, and starts anew; nothing where it has no row.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`].
    pub(super) fn finish(&mut self) -> Result<Option<Decoded>> {
        if self.rows == 0 {
            return Ok(None);
        }
        let batch = self.finish_batch().map_err(|error| {
            Error::new(ErrorKind::Internal, "decoded columns do not make a batch").with_cause(error)
        })?;
        self.rows = 0;
        self.rescued_bytes = 0;
        self.rejected_rows.clear();
        Ok(Some(Decoded {
            batch,
            rescued: std::mem::take(&mut self.rescued),
            rejects: std::mem::take(&mut self.rejects),
        }))
    }

    fn finish_batch(&mut self) -> Result<RecordBatch, ArrowError> {
        let rows = self.rows;
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.columns.len());
        for column in &mut self.columns {
            arrays.push(column.finish(rows)?);
        }
        if let Some(rescue) = &mut self.rescue {
            arrays[rescue.column] = rescue.finish();
        }
        let rejected = &self.rejected_rows;
        if !rejected.is_empty() {
            let mut kept = vec![true; rows];
            for row in rejected {
                kept[*row] = false;
            }
            let kept = BooleanArray::from(kept);
            for array in &mut arrays {
                *array = filter(array, &kept)?;
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows - rejected.len()));
        RecordBatch::try_new_with_options(self.plan.schema.clone(), arrays, &options)
    }
}

impl std::fmt::Debug for BatchBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BatchBuilder").field("plan", &self.plan).finish_non_exhaustive()
    }
}

/// Refuses a plan that rescues, and has no column for it.
fn check_rescue(plan: &DecodePlan) -> Result<()> {
    let rescues = plan.rules.rescue
        || plan.rules.long_rows == LongRows::Rescue
        || plan.fields.iter().any(|field| matches!(field, Target::Rescued(_)));
    let is_text = |column: usize| {
        let field = plan.schema.fields().get(column);
        field.is_some_and(|field| *field.data_type() == DataType::Utf8 && field.is_nullable())
    };
    if plan.rescued.is_some_and(is_text) || (plan.rescued.is_none() && !rescues) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Internal, "there is no column of text for rescued values"))
}

fn wanted_fields(plan: &DecodePlan) -> Result<Vec<FieldAt>> {
    let mut wanted: Vec<FieldAt> = Vec::new();
    for (position, target) in plan.fields.iter().enumerate() {
        let Some(column) = target.column() else { continue };
        let fed = wanted.iter().any(|other| other.column == column);
        if fed || column >= plan.schema.fields().len() || plan.rescued == Some(column) {
            let message = format!("field {position} cannot feed column {column}");
            return Err(Error::new(ErrorKind::Internal, message));
        }
        wanted.push(FieldAt { position, column });
    }
    Ok(wanted)
}

fn columns_of(
    plan: &DecodePlan,
    wanted: &[FieldAt],
    dialect: &Dialect,
) -> Result<Vec<Box<dyn Column>>> {
    let usual = Arc::default();
    let column_of = |(index, field): (usize, &FieldRef)| {
        if wanted.iter().any(|field| field.column == index) {
            let format = plan.formats.get(index).unwrap_or(&usual);
            column_for(field, format, dialect).ok_or_else(|| {
                let (name, data_type) = (field.name(), field.data_type());
                let message = format!("column {name:?} is {data_type}, which CSV cannot fill");
                Error::new(ErrorKind::SchemaMismatch, message)
            })
        } else if field.is_nullable() {
            Ok(Box::new(Absent(field.data_type().clone())) as Box<dyn Column>)
        } else {
            let message =
                format!("no field feeds column {:?}, which must not be null", field.name());
            Err(Error::new(ErrorKind::SchemaMismatch, message))
        }
    };
    plan.schema.fields().iter().enumerate().map(column_of).collect()
}
