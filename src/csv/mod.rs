//! CSV to Arrow.
