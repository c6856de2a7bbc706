//! Fields to arrays, one column at a time.

use std::ops::Range;
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

use super::dialect::{Dialect, FieldReader};
use super::format::{BinaryFormat, ValueFormat};
use super::reject::{Faults, RejectKind, quoted};
use super::value::{self, Nulls, Text, binary};

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

    /// How many rows there are.
    pub(super) fn count(&self) -> usize {
        self.bounds.len() / self.stride
    }

    /// How many fields each has.
    pub(super) fn fields_per_row(&self) -> usize {
        self.stride - 1
    }

    /// The rows of this range.
    pub(super) fn slice(self, rows: Range<usize>) -> Self {
        let bounds = &self.bounds[rows.start * self.stride..rows.end * self.stride];
        Self { bounds, ..self }
    }

    /// The range of `row` in the buffer, without its line end.
    pub(super) fn range(&self, row: usize) -> Range<usize> {
        let row = &self.bounds[row * self.stride..][..self.stride];
        self.after(row[0])..row[self.stride - 1] as usize
    }

    /// Where the field starts whose delimiter is at `bound`.
    #[inline]
    fn after(&self, bound: u32) -> usize {
        bound.wrapping_add(self.reader.delimiter_bytes() as u32) as usize
    }
}

/// An output column that is being filled.
pub(super) trait Column: Send {
    /// Appends a value for each of `rows`. A bad one is a fault, and null until the row is removed.
    fn parse(&mut self, rows: Rows<'_>, position: usize, faults: &mut Faults);

    /// Appends a null for a row, number `row` of those that are being read, that has no such field.
    fn parse_absent(&mut self, row: usize, faults: &mut Faults);

    /// What was appended, and starts anew.
    fn finish(&mut self, rows: usize) -> Result<ArrayRef, ArrowError>;
}

/// A column for `field`, whose values are written so, or nothing where there is no such type.
pub(super) fn column_for(
    field: &Field,
    format: &ValueFormat,
    dialect: &Dialect,
) -> Option<Box<dyn Column>> {
    use DataType as T;
    let nulls = Nulls::new(format.null_values.as_ref().unwrap_or(&dialect.null_values));
    let judge =
        |type_name: &str| Judge { field: field.clone(), type_name: type_name.to_owned(), nulls };
    Some(match *field.data_type() {
        T::Boolean => booleans(judge("a boolean"), format),
        T::Int8 => number::<Int8Type>(judge("an int8"), format, value::signed),
        T::Int16 => number::<Int16Type>(judge("an int16"), format, value::signed),
        T::Int32 => number::<Int32Type>(judge("an int32"), format, value::signed),
        T::Int64 => number::<Int64Type>(judge("an int64"), format, value::signed),
        T::UInt8 => number::<UInt8Type>(judge("a uint8"), format, value::unsigned),
        T::UInt16 => number::<UInt16Type>(judge("a uint16"), format, value::unsigned),
        T::UInt32 => number::<UInt32Type>(judge("a uint32"), format, value::unsigned),
        T::UInt64 => number::<UInt64Type>(judge("a uint64"), format, value::unsigned),
        T::Float32 => number::<Float32Type>(judge("a float32"), format, value::float32),
        T::Float64 => number::<Float64Type>(judge("a float64"), format, value::float64),
        T::Decimal128(precision, scale) => {
            let judge = judge(&format!("a decimal({precision},{scale})"));
            decimals(judge, format, precision, u8::try_from(scale).ok()?)
        }
        T::Date32 => dates(judge(&format.name_of_dates()), format),
        T::Timestamp(TimeUnit::Microsecond, None) => {
            let name = format.name_of_timestamps("a timestamp without an offset");
            timestamps(judge(&name), format, |(micros, zoned)| (!zoned).then_some(micros))
        }
        T::Timestamp(TimeUnit::Microsecond, Some(ref zone)) if &**zone == "UTC" => {
            let name = format.name_of_timestamps("a timestamp");
            timestamps(judge(&name), format, |(micros, _)| Some(micros))
        }
        T::Binary if format.binary_format == BinaryFormat::Hex => {
            Box::new(Encoded::new(judge("hexadecimal"), binary::hexadecimal))
        }
        T::Binary if format.binary_format == BinaryFormat::Base64 => {
            Box::new(Encoded::new(judge("base64"), binary::base64))
        }
        T::Utf8 if dialect.trim => Box::new(Texts::<true>::new(judge("text"))),
        T::Utf8 | T::Binary => Box::new(Texts::<false>::new(judge("text"))),
        _ => return None,
    })
}

fn booleans(judge: Judge, format: &ValueFormat) -> Box<dyn Column> {
    if format.has_usual_booleans() {
        return Booleans::boxed(judge, |text| value::boolean(text.bytes()));
    }
    let spellings = format.boolean_spellings();
    Booleans::boxed(judge, move |text| spellings.read(text.bytes()))
}

fn number<T: ArrowPrimitiveType>(
    judge: Judge,
    format: &ValueFormat,
    parse: impl Fn(Text<'_>) -> Option<T::Native> + Send + 'static,
) -> Box<dyn Column> {
    match format.has_plain_numbers() {
        true => primitive::<T>(judge, parse),
        false => separated::<T>(judge, format, parse),
    }
}

/// A column of numbers with separators of their own, each of which is rewritten first.
fn separated<T: ArrowPrimitiveType>(
    judge: Judge,
    format: &ValueFormat,
    parse: impl Fn(Text<'_>) -> Option<T::Native> + Send + 'static,
) -> Box<dyn Column> {
    let mut separators = format.separators();
    primitive::<T>(judge, move |text| parse(separators.plain(text.bytes())?))
}

fn decimals(judge: Judge, format: &ValueFormat, precision: u8, scale: u8) -> Box<dyn Column> {
    // A closure that is used once becomes part of its loop.
    let exact = move |text: Text<'_>| value::decimal(text, precision, scale);
    let separated_exact = move |text: Text<'_>| value::decimal(text, precision, scale);
    let rounded = move |text: Text<'_>| value::rounded_decimal(text, precision, scale);
    match (format.round_decimals, format.has_plain_numbers()) {
        (true, _) => number::<Decimal128Type>(judge, format, rounded),
        (false, true) => primitive::<Decimal128Type>(judge, exact),
        (false, false) => separated::<Decimal128Type>(judge, format, separated_exact),
    }
}

fn dates(judge: Judge, format: &ValueFormat) -> Box<dyn Column> {
    if format.has_iso_dates() {
        return primitive::<Date32Type>(judge, |text| value::date(text.bytes()));
    }
    let format = format.clone();
    primitive::<Date32Type>(judge, move |text| format.date(text.bytes()))
}

/// A column of timestamps, as far as it can `take` them: microseconds, and whether there is an offset.
fn timestamps(
    judge: Judge,
    format: &ValueFormat,
    take: impl Fn((i64, bool)) -> Option<i64> + Send + 'static,
) -> Box<dyn Column> {
    if format.has_iso_timestamps() {
        let parse = move |text: Text<'_>| take(value::timestamp(text.bytes())?);
        return primitive::<TimestampMicrosecondType>(judge, parse);
    }
    let format = format.clone();
    let parse = move |text: Text<'_>| take(format.timestamp(text.bytes())?);
    primitive::<TimestampMicrosecondType>(judge, parse)
}

/// A column that no field feeds.
pub(super) struct Absent(pub(super) DataType);

impl Column for Absent {
    fn parse(&mut self, _: Rows<'_>, _: usize, _: &mut Faults) {}

    fn parse_absent(&mut self, _: usize, _: &mut Faults) {}

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
    nulls: Nulls,
}

impl Judge {
    #[cold]
    fn bad(&self, row: usize, text: &[u8], faults: &mut Faults) {
        let reason = || format!("{} is not {}", quoted(text), self.type_name);
        faults.add(row, RejectKind::BadValue, reason);
    }

    fn null(&self, row: usize, faults: &mut Faults) {
        if !self.field.is_nullable() {
            let reason = || "null in a column that must not be null".to_owned();
            faults.add(row, RejectKind::MissingValue, reason);
        }
    }

    /// The value of a field. There is one call of `parse`, so that it becomes part of the loop.
    #[inline(always)]
    fn read<T>(
        &self,
        rows: Rows<'_>,
        row: usize,
        field: Text<'_>,
        mut parse: impl FnMut(Text<'_>) -> Option<T>,
        faults: &mut Faults,
    ) -> Option<T> {
        let unquoted;
        let (whole, text) = if rows.reader.is_plain(field.bytes()) {
            (field.bytes(), field)
        } else {
            unquoted = rows.reader.text(field.bytes());
            let text = value::trimmed(&unquoted);
            // Null may be written with spaces around it, or as spaces.
            let is_null = text.len() < unquoted.len() && self.nulls.contain(text);
            (if is_null { text } else { &*unquoted }, text.into())
        };
        if self.nulls.contain(whole) {
            self.null(row, faults);
            return None;
        }
        let value = parse(text);
        if value.is_none() {
            self.bad(row, whole, faults);
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
    judge: Judge,
    parse: impl FnMut(Text<'_>) -> Option<T::Native> + Send + 'static,
) -> Box<dyn Column> {
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
    P: FnMut(Text<'_>) -> Option<T::Native> + Send,
{
    fn parse(&mut self, rows: Rows<'_>, position: usize, faults: &mut Faults) {
        let Self { judge, parse, values, validity } = self;
        for (row, field) in rows.fields(position).enumerate() {
            let value = judge.read(rows, row, field, &mut *parse, faults);
            validity.append(value.is_some());
            values.push(value.unwrap_or_default());
        }
    }

    fn parse_absent(&mut self, row: usize, faults: &mut Faults) {
        self.judge.null(row, faults);
        self.validity.append(false);
        self.values.push(T::Native::default());
    }

    fn finish(&mut self, _: usize) -> Result<ArrayRef, ArrowError> {
        // The next batch will have about as many values.
        let next = Vec::with_capacity(self.values.len());
        let values = ScalarBuffer::from(std::mem::replace(&mut self.values, next));
        let array = PrimitiveArray::<T>::try_new(values, self.validity.finish())?;
        Ok(Arc::new(array.with_data_type(self.judge.field.data_type().clone())))
    }
}

struct Booleans<P> {
    judge: Judge,
    parse: P,
    values: BooleanBufferBuilder,
    validity: NullBufferBuilder,
}

impl<P: Fn(Text<'_>) -> Option<bool> + Send + 'static> Booleans<P> {
    fn boxed(judge: Judge, parse: P) -> Box<dyn Column> {
        Box::new(Self {
            judge,
            parse,
            values: BooleanBufferBuilder::new(0),
            validity: NullBufferBuilder::new(0),
        })
    }
}

impl<P: Fn(Text<'_>) -> Option<bool> + Send> Column for Booleans<P> {
    fn parse(&mut self, rows: Rows<'_>, position: usize, faults: &mut Faults) {
        let Self { judge, parse, values, validity } = self;
        for (row, field) in rows.fields(position).enumerate() {
            let value = judge.read(rows, row, field, &mut *parse, faults);
            validity.append(value.is_some());
            values.append(value.unwrap_or_default());
        }
    }

    fn parse_absent(&mut self, row: usize, faults: &mut Faults) {
        self.judge.null(row, faults);
        self.validity.append(false);
        self.values.append(false);
    }

    fn finish(&mut self, _: usize) -> Result<ArrayRef, ArrowError> {
        Ok(Arc::new(BooleanArray::new(self.values.finish(), self.validity.finish())))
    }
}

/// A column of text, as strings or as bytes. `TRIM` it, and the spaces around unquoted text are no
/// part of it.
struct Texts<const TRIM: bool> {
    judge: Judge,
    bytes: Vec<u8>,
    offsets: Vec<i32>,
    validity: NullBufferBuilder,
}

impl<const TRIM: bool> Texts<TRIM> {
    fn new(judge: Judge) -> Self {
        let validity = NullBufferBuilder::new(0);
        Self { judge, bytes: Vec::new(), offsets: vec![0], validity }
    }

    /// Ends a value, which has its bytes.
    #[inline(always)]
    fn end(&mut self, valid: bool) {
        self.validity.append(valid);
        // The limits of a batch keep its text far below 2 GiB.
        self.offsets.push(self.bytes.len() as i32);
    }
}

impl<const TRIM: bool> Column for Texts<TRIM> {
    fn parse(&mut self, rows: Rows<'_>, position: usize, faults: &mut Faults) {
        let has_escapes = rows.reader.has_escapes();
        for (row, field) in rows.fields(position).enumerate() {
            let quoted = rows.reader.is_quoted(field.bytes());
            let trims = TRIM && !quoted;
            let plain = if trims { field.trimmed() } else { field };
            let valid = quoted || !self.judge.nulls.contain(plain.bytes());
            if !valid {
                self.judge.null(row, faults);
            } else if quoted || has_escapes {
                // Trimmed first, it might look quoted.
                let text = rows.reader.text(field.bytes());
                let text = if trims { value::trimmed(&text) } else { &*text };
                self.bytes.extend_from_slice(text);
            } else {
                plain.append_to(&mut self.bytes);
            }
            self.end(valid);
        }
    }

    fn parse_absent(&mut self, row: usize, faults: &mut Faults) {
        self.judge.null(row, faults);
        self.end(false);
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

/// A column of bytes that are written as text.
struct Encoded {
    values: Texts<false>,
    /// Appends the bytes; what it appends of a text that is none is garbage.
    decode: fn(&[u8], &mut Vec<u8>) -> Option<()>,
}

impl Encoded {
    fn new(judge: Judge, decode: fn(&[u8], &mut Vec<u8>) -> Option<()>) -> Self {
        Self { values: Texts::new(judge), decode }
    }
}

impl Column for Encoded {
    fn parse(&mut self, rows: Rows<'_>, position: usize, faults: &mut Faults) {
        let values = &mut self.values;
        for (row, field) in rows.fields(position).enumerate() {
            let quoted = rows.reader.is_quoted(field.bytes());
            let whole = rows.reader.text(field.bytes());
            let text = value::trimmed(&whole);
            let is_null = |text: &[u8]| values.judge.nulls.contain(text);
            let null = !quoted && (is_null(text) || is_null(&whole));
            let start = values.bytes.len();
            let valid = !null && (self.decode)(text, &mut values.bytes).is_some();
            if null {
                values.judge.null(row, faults);
            } else if !valid {
                values.bytes.truncate(start);
                values.judge.bad(row, &whole, faults);
            }
            values.end(valid);
        }
    }

    fn parse_absent(&mut self, row: usize, faults: &mut Faults) {
        self.values.parse_absent(row, faults);
    }

    fn finish(&mut self, rows: usize) -> Result<ArrayRef, ArrowError> {
        self.values.finish(rows)
    }
}
