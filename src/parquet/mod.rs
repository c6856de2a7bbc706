//! Arrow to Parquet.
