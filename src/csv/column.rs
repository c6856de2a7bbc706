//! Fields to arrays, one column at a time.

use std::sync::Arc;

use arrow::array::builder::NullBufferBuilder;
use arrow::array::{
    ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, BooleanBufferBuilder, PrimitiveArray,
    StringArray, new_null_array,
};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use arrow::error::ArrowError;

use super::dialect::FieldReader;
use super::reject::{Fault, Faults, quoted};
use super::value::{self, Text};

/// Some rows of a buffer.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) buffer: &'a [u8],
    /// For each row, the position of a delimiter that would end right before it, then the end of each
    /// field. A field ends where the next one has its delimiter before it.
    pub(super) bounds: &'a [u32],
    /// How many bounds a row has.
    pub(super) stride: usize,
    pub(super) reader: &'a FieldReader,
}

impl<'a> Rows<'a> {
    /// The field at `position` of each row, with its quotes. A rejected row's are empty.
    #[inline]
    fn fields(self, position: usize) -> impl Iterator<Item = Text<'a>> {
        self.bounds.chunks_exact(self.stride).map(move |row| self.field_of(row, position))
    }

    /// The field at `position` of `row`.
    pub(super) fn field(self, row: usize, position: usize) -> &'a [u8] {
        self.field_of(&self.bounds[row * self.stride..], position).bytes()
    }

    #[inline]
    fn field_of(self, row_bounds: &[u32], position: usize) -> Text<'a> {
        let start = self.after(row_bounds[position]);
        Text::within(self.buffer, start, row_bounds[position + 1] as usize)
    }

    /// The range of `row` in the buffer, without its line end.
    pub(super) fn range(&self, row: usize) -> (usize, usize) {
        let row = &self.bounds[row * self.stride..][..self.stride];
        (self.after(row[0]), row[self.stride - 1] as usize)
    }

    /// Where the field starts whose delimiter is at `bound`.
    #[inline]
    fn after(&self, bound: u32) -> usize {
        bound.wrapping_add(self.reader.delimiter_bytes() as u32) as usize
    }

    fn fault(&self, row: usize, column: &Field, reason: String) -> Fault {
        let (start, end) = self.range(row);
        Fault { reason, column: Some(column.name().clone()), start, end }
    }
}

/// An output column that is being filled.
pub(super) trait Column: Send {
    /// Appends a value for each of `rows`. A bad one is a fault, and null until the row is removed.
    fn parse(&mut self, rows: Rows<'_>, position: usize, faults: &mut Faults);

    /// What was appended, and starts anew.
    fn finish(&mut self, rows: usize) -> Result<ArrayRef, ArrowError>;
}

/// A column for `field`, or nothing where there is no such type.
pub(super) fn column_for(field: &Field) -> Option<Box<dyn Column>> {
    use DataType as T;
    let field = field.clone();
    Some(match *field.data_type() {
        T::Boolean => Box::new(Booleans::new(field)),
        T::Int8 => primitive::<Int8Type>(field, "an int8", value::signed),
        T::Int16 => primitive::<Int16Type>(field, "an int16", value::signed),
        T::Int32 => primitive::<Int32Type>(field, "an int32", value::signed),
        T::Int64 => primitive::<Int64Type>(field, "an int64", value::signed),
        T::UInt8 => primitive::<UInt8Type>(field, "a uint8", value::unsigned),
        T::UInt16 => primitive::<UInt16Type>(field, "a uint16", value::unsigned),
        T::UInt32 => primitive::<UInt32Type>(field, "a uint32", value::unsigned),
        T::UInt64 => primitive::<UInt64Type>(field, "a uint64", value::unsigned),
        T::Float32 => {
            primitive::<Float32Type>(field, "a float32", |text| value::float32(text.bytes()))
        }
        T::Float64 => primitive::<Float64Type>(field, "a float64", value::float64),
        T::Date32 => primitive::<Date32Type>(field, "a date", |text| value::date(text.bytes())),
        T::Decimal128(precision, scale) => {
            let scale = u8::try_from(scale).ok()?;
            let name = format!("a decimal({precision},{scale})");
            let parse = move |text: Text<'_>| value::decimal(text, precision, scale);
            primitive::<Decimal128Type>(field, &name, parse)
        }
        T::Timestamp(TimeUnit::Microsecond, None) => {
            let parse = |text: Text<'_>| match value::timestamp(text.bytes()) {
                Some((micros, false)) => Some(micros),
                _ => None,
            };
            primitive::<TimestampMicrosecondType>(field, "a timestamp without an offset", parse)
        }
        T::Timestamp(TimeUnit::Microsecond, Some(ref zone)) if &**zone == "UTC" => {
            let parse = |text: Text<'_>| value::timestamp(text.bytes()).map(|(micros, _)| micros);
            primitive::<TimestampMicrosecondType>(field, "a timestamp", parse)
        }
        T::Utf8 | T::Binary => Box::new(Texts::new(field)),
        _ => return None,
    })
}

/// A column that no field feeds.
pub(super) struct Absent(pub(super) DataType);

impl Column for Absent {
    fn parse(&mut self, _: Rows<'_>, _: usize, _: &mut Faults) {}

    fn finish(&mut self, rows: usize) -> Result<ArrayRef, ArrowError> {
        Ok(new_null_array(&self.0, rows))
    }
}

/// Notes why a row has no value in this column.
#[derive(Debug)]
struct Judge {
    field: Field,
    /// With its article: "an int64".
    type_name: String,
}

impl Judge {
    #[cold]
    fn bad(&self, rows: Rows<'_>, row: usize, text: &[u8], faults: &mut Faults) {
        faults.add(row, || {
            let reason = format!("{} is not {}", quoted(text), self.type_name);
            rows.fault(row, &self.field, reason)
        });
    }

    fn null(&self, rows: Rows<'_>, row: usize, faults: &mut Faults) {
        if !self.field.is_nullable() {
            faults.add(row, || {
                rows.fault(row, &self.field, "null in a column that must not be null".to_owned())
            });
        }
    }

    /// The value of a field. There is one call of `parse`, so that it becomes part of the loop.
    #[inline(always)]
    fn read<T>(
        &self,
        rows: Rows<'_>,
        row: usize,
        field: Text<'_>,
        parse: impl Fn(Text<'_>) -> Option<T>,
        faults: &mut Faults,
    ) -> Option<T> {
        let unquoted;
        let (whole, text) = if rows.reader.is_plain(field.bytes()) {
            (field.bytes(), field)
        } else {
            unquoted = rows.reader.text(field.bytes());
            (&*unquoted, value::trimmed(&unquoted).into())
        };
        if rows.reader.is_null(whole) {
            self.null(rows, row, faults);
            return None;
        }
        let value = parse(text);
        if value.is_none() {
            self.bad(rows, row, whole, faults);
        }
        value
    }
}

struct Primitive<T: ArrowPrimitiveType, P> {
    judge: Judge,
    parse: P,
    values: Vec<T::Native>,
    validity: NullBufferBuilder,
}

fn primitive<T: ArrowPrimitiveType>(
    field: Field,
    type_name: &str,
    parse: impl Fn(Text<'_>) -> Option<T::Native> + Send + 'static,
) -> Box<dyn Column> {
    let judge = Judge { field, type_name: type_name.to_owned() };
    Box::new(Primitive::<T, _> {
        judge,
        parse,
        values: Vec::new(),
        validity: NullBufferBuilder::new(0),
    })
}

impl<T, P> Column for Primitive<T, P>
where
    T: ArrowPrimitiveType,
    P: Fn(Text<'_>) -> Option<T::Native> + Send,
{
    fn parse(&mut self, rows: Rows<'_>, position: usize, faults: &mut Faults) {
        for (row, field) in rows.fields(position).enumerate() {
            let value = self.judge.read(rows, row, field, &self.parse, faults);
            self.validity.append(value.is_some());
            self.values.push(value.unwrap_or_default());
        }
    }

    fn finish(&mut self, _: usize) -> Result<ArrayRef, ArrowError> {
        // The next batch will have about as many values.
        let next = Vec::with_capacity(self.values.len());
        let values = ScalarBuffer::from(std::mem::replace(&mut self.values, next));
        let array = PrimitiveArray::<T>::try_new(values, self.validity.finish())?;
        Ok(Arc::new(array.with_data_type(self.judge.field.data_type().clone())))
    }
}

struct Booleans {
    judge: Judge,
    values: BooleanBufferBuilder,
    validity: NullBufferBuilder,
}

impl Booleans {
    fn new(field: Field) -> Self {
        Self {
            judge: Judge { field, type_name: "a boolean".to_owned() },
            values: BooleanBufferBuilder::new(0),
            validity: NullBufferBuilder::new(0),
        }
    }
}

impl Column for Booleans {
    fn parse(&mut self, rows: Rows<'_>, position: usize, faults: &mut Faults) {
        for (row, field) in rows.fields(position).enumerate() {
            let parse = |text: Text<'_>| value::boolean(text.bytes());
            let value = self.judge.read(rows, row, field, parse, faults);
            self.validity.append(value.is_some());
            self.values.append(value.unwrap_or_default());
        }
    }

    fn finish(&mut self, _: usize) -> Result<ArrayRef, ArrowError> {
        Ok(Arc::new(BooleanArray::new(self.values.finish(), self.validity.finish())))
    }
}

/// A column of text, as strings or as bytes.
struct Texts {
    judge: Judge,
    bytes: Vec<u8>,
    offsets: Vec<i32>,
    validity: NullBufferBuilder,
}

impl Texts {
    fn new(field: Field) -> Self {
        Self {
            judge: Judge { field, type_name: "text".to_owned() },
            bytes: Vec::new(),
            offsets: vec![0],
            validity: NullBufferBuilder::new(0),
        }
    }
}

impl Column for Texts {
    fn parse(&mut self, rows: Rows<'_>, position: usize, faults: &mut Faults) {
        for (row, field) in rows.fields(position).enumerate() {
            let quoted = rows.reader.is_quoted(field.bytes());
            let valid = quoted || !rows.reader.is_null(field.bytes());
            self.validity.append(valid);
            if !valid {
                self.judge.null(rows, row, faults);
            } else if rows.reader.is_text(field.bytes()) {
                field.append_to(&mut self.bytes);
            } else {
                self.bytes.extend_from_slice(&rows.reader.text(field.bytes()));
            }
            // The limits of a batch keep its text far below 2 GiB.
            self.offsets.push(self.bytes.len() as i32);
        }
    }

    fn finish(&mut self, _: usize) -> Result<ArrayRef, ArrowError> {
        let next_bytes = Vec::with_capacity(self.bytes.len());
        let mut next_offsets = Vec::with_capacity(self.offsets.len());
        next_offsets.push(0);
        let bytes = Buffer::from_vec(std::mem::replace(&mut self.bytes, next_bytes));
        let offsets = std::mem::replace(&mut self.offsets, next_offsets);
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        let validity = self.validity.finish();
        Ok(match self.judge.field.data_type() {
            DataType::Binary => Arc::new(BinaryArray::try_new(offsets, bytes, validity)?),
            _ => Arc::new(StringArray::try_new(offsets, bytes, validity)?),
        })
    }
}
