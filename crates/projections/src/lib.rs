//! Folds of the log into what pages read, and the port [`ReadModel`] by which they read it.
//!
//! Pure and shared: the server folds the log into its store, the browser folds the receipts that arrive live into the
//! view it was given, with the same functions.

mod read;

pub use read::*;
