//! Conformance: what Lakefeed takes for granted of its backends, one function for each promise, run
//! on every backend that it supports.
//!
//! A test's name is `suite::subject::backend::promise`, so that a failure names both. How a backend
//! is added is in `CONTRIBUTING.md`.
//!
//! ```text
//! cargo test --test conformance                everything
//! cargo test --test conformance local          one backend
//! cargo test --test conformance store::        one suite
//! ```
#![cfg(any(feature = "delta", feature = "iceberg"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[macro_use]
mod support;

mod lease;
mod store;
mod table;
