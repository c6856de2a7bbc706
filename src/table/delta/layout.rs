//! From Delta's schema to the layout of data files, and back.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use delta_kernel::engine::arrow_conversion::{TryIntoArrow, TryIntoKernel};
use delta_kernel::expressions::Scalar;
use delta_kernel::schema::{
    DataType as KernelType, PrimitiveType, SchemaRef as KernelSchemaRef, StructType,
};
use delta_kernel::transaction::{BoundWriteContext, WriteState};
use delta_kernel::{KernelError, KernelResult};

use crate::table::{Layout, Value};

/// What the kernel says of a table's data files.
pub(super) struct Target {
    /// The table's columns, with logical names.
    pub schema: KernelSchemaRef,
    /// The names of the partition columns, in the table's order.
    pub partition_by: Vec<String>,
    /// From logical columns to what files hold.
    pub state: Arc<WriteState>,
}

impl Target {
    /// The write context of files with these partition values.
    pub fn bind(&self, values: &[Option<Value>]) -> KernelResult<BoundWriteContext> {
        self.bind_with(|position, column| scalar(values[position].as_ref(), column))
    }

    /// A write context for what does not depend on the partition values.
    pub fn bind_any(&self) -> KernelResult<BoundWriteContext> {
        self.bind_with(|_, column| Ok(some_scalar(column)))
    }

    fn bind_with(
        &self,
        value: impl Fn(usize, &KernelType) -> KernelResult<Scalar>,
    ) -> KernelResult<BoundWriteContext> {
        let builder = self.state.write_context_builder();
        if self.partition_by.is_empty() {
            return builder.build();
        }
        let scalars = self.partition_by.iter().enumerate().map(|(position, name)| {
            let field = self
                .schema
                .field(name)
                .ok_or_else(|| KernelError::generic(format!("no partition column {name:?}")))?;
            Ok((name.clone(), value(position, field.data_type())?))
        });
        builder.with_partition_values(scalars.collect::<KernelResult<_>>()?).build()
    }
}

/// The kernel's schema for a table of `schema`.
pub(super) fn kernel_schema(schema: &SchemaRef) -> KernelResult<KernelSchemaRef> {
    let kernel: StructType = schema.as_ref().try_into_kernel()?;
    Ok(Arc::new(kernel))
}

/// The layout of the data files of `target`.
///
/// Columns that no CSV can feed (structs, lists, maps) are left out of the files where they may be
/// null; every reader takes an absent column for null.
pub(super) fn of(target: &Target) -> KernelResult<Layout> {
    let context = target.bind_any()?;
    let physical: Schema = context.physical_data_schema().as_ref().try_into_arrow()?;
    let bounded: Vec<&[String]> = target.state.stats_columns().iter().map(|c| c.path()).collect();
    let (mut fields, mut file_fields, mut bounded_columns) = (Vec::new(), Vec::new(), Vec::new());
    for field in target.schema.fields() {
        let logical: Field = field.try_into_arrow()?;
        let physical_name = field.physical_name(context.column_mapping_mode());
        let stored = physical.field_with_name(physical_name).ok();
        let is_partition = target.partition_by.contains(field.name());
        if is_partition && stored.is_some() {
            return Err(KernelError::unsupported("partition columns inside the data files"));
        }
        if !feedable(logical.data_type()) || (stored.is_none() && !is_partition) {
            if field.is_nullable() && !is_partition {
                continue;
            }
            return Err(KernelError::unsupported(format!(
                "column {:?} may not be null, and no CSV can hold its type",
                field.name()
            )));
        }
        let file_field = stored.unwrap_or(&logical).clone();
        bounded_columns.push(bounded.iter().any(|path| *path == [physical_name.to_owned()]));
        file_fields.push(file_field);
        fields.push(logical.with_metadata(HashMap::new()));
    }
    let position = |name: &String| fields.iter().position(|field| field.name() == name);
    Ok(Layout {
        partition_columns: target.partition_by.iter().filter_map(position).collect(),
        stores_partition_columns: false,
        schema: Arc::new(Schema::new(fields)),
        file_schema: Arc::new(Schema::new(file_fields)),
        bounded_columns,
    })
}

/// Some value of a column's type: a column that may not be null does not take null for one.
fn some_scalar(column: &KernelType) -> Scalar {
    use PrimitiveType as T;
    match column {
        KernelType::Primitive(T::Boolean) => Scalar::Boolean(false),
        KernelType::Primitive(T::Byte) => Scalar::Byte(0),
        KernelType::Primitive(T::Short) => Scalar::Short(0),
        KernelType::Primitive(T::Integer) => Scalar::Integer(0),
        KernelType::Primitive(T::Long) => Scalar::Long(0),
        KernelType::Primitive(T::Float) => Scalar::Float(0.0),
        KernelType::Primitive(T::Double) => Scalar::Double(0.0),
        KernelType::Primitive(T::Date) => Scalar::Date(0),
        KernelType::Primitive(T::Timestamp) => Scalar::Timestamp(0),
        KernelType::Primitive(T::TimestampNtz) => Scalar::TimestampNtz(0),
        KernelType::Primitive(T::String) => Scalar::String("0".to_owned()),
        other => Scalar::Null(other.clone()),
    }
}

fn scalar(value: Option<&Value>, column: &KernelType) -> KernelResult<Scalar> {
    use PrimitiveType as T;
    let Some(value) = value else {
        return Ok(Scalar::Null(column.clone()));
    };
    let unfit = || KernelError::generic(format!("{value:?} is no value of a {column} column"));
    let KernelType::Primitive(primitive) = column else {
        return Err(unfit());
    };
    Ok(match (primitive, value) {
        (T::Boolean, Value::Boolean(value)) => Scalar::Boolean(*value),
        (T::Byte, Value::Integer(value)) => Scalar::Byte((*value).try_into().map_err(|_| unfit())?),
        (T::Short, Value::Integer(value)) => {
            Scalar::Short((*value).try_into().map_err(|_| unfit())?)
        }
        (T::Integer, Value::Integer(value)) => {
            Scalar::Integer((*value).try_into().map_err(|_| unfit())?)
        }
        (T::Long, Value::Integer(value)) => Scalar::Long(*value),
        (T::Float, Value::Float(value)) => Scalar::Float(*value as f32),
        (T::Double, Value::Float(value)) => Scalar::Double(*value),
        (T::Decimal(decimal), Value::Decimal(value, _)) => {
            Scalar::decimal(*value, decimal.precision(), decimal.scale())?
        }
        (T::Date, Value::Date(value)) => Scalar::Date(*value),
        (T::Timestamp, Value::Timestamp(value)) => Scalar::Timestamp(*value),
        (T::TimestampNtz, Value::Timestamp(value)) => Scalar::TimestampNtz(*value),
        (T::String, Value::String(value)) => Scalar::String(value.clone()),
        _ => return Err(unfit()),
    })
}

fn feedable(data_type: &DataType) -> bool {
    use DataType as T;
    matches!(
        data_type,
        T::Boolean
            | T::Int8
            | T::Int16
            | T::Int32
            | T::Int64
            | T::Float32
            | T::Float64
            | T::Decimal128(..)
            | T::Date32
            | T::Timestamp(TimeUnit::Microsecond, _)
            | T::Utf8
            | T::Binary
    )
}
