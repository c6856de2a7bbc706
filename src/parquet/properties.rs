//! How the columns are encoded.

use arrow::datatypes::{DataType, Schema};
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::Result;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::WriterLimits;

/// The longest bound that the file itself keeps for a string or binary column of a row group: most
/// names of objects, whole. That of a page is shorter, since there are many.
const STATISTICS_BYTES_MAX: usize = 256;
const PAGE_STATISTICS_BYTES_MAX: usize = 64;

/// Decimals up to this precision are stored as 32- or 64-bit integers.
const INTEGER_DECIMAL_PRECISION_MAX: u8 = 18;

/// The options for files of `schema` within `limits`.
///
/// Dictionaries pay while they are small; the encodings named here are what a column falls back to
/// once its dictionary has outgrown its limit.
pub(super) fn writer_options(schema: &Schema, limits: &WriterLimits) -> Result<ArrowWriterOptions> {
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("lakefeed ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_dictionary_enabled(limits.dictionary_bytes_max > 0)
        .set_dictionary_page_size_limit(limits.dictionary_bytes_max)
        .set_data_page_size_limit(limits.page_bytes_max)
        .set_data_page_row_count_limit(limits.page_rows_max)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_statistics_truncate_length(Some(STATISTICS_BYTES_MAX))
        .set_column_index_truncate_length(Some(PAGE_STATISTICS_BYTES_MAX))
        // Row groups end where our own limits say, which see more than these two would.
        .set_max_row_group_row_count(None)
        .set_max_row_group_bytes(None);
    for field in schema.fields() {
        if let Some(encoding) = fallback_encoding(field.data_type()) {
            let column = ColumnPath::new(vec![field.name().clone()]);
            properties = properties.set_column_encoding(column, encoding);
        }
    }
    // Parquet's own types say all that ours do, so the Arrow schema need not be embedded.
    Ok(ArrowWriterOptions::new()
        .with_properties(properties.build())
        .with_skip_arrow_metadata(true)
        .with_schema_root("schema".to_owned()))
}

fn fallback_encoding(data_type: &DataType) -> Option<Encoding> {
    match data_type {
        DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Date32
        | DataType::Timestamp(..) => Some(Encoding::DELTA_BINARY_PACKED),
        DataType::Decimal128(precision, _) if *precision <= INTEGER_DECIMAL_PRECISION_MAX => {
            Some(Encoding::DELTA_BINARY_PACKED)
        }
        DataType::Utf8 | DataType::Binary => Some(Encoding::DELTA_LENGTH_BYTE_ARRAY),
        _ => None,
    }
}
