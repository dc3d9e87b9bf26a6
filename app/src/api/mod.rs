//! Server functions: what pages ask and order of the server.
//!
//! Each is a public endpoint and authorises by itself: reads need a viewer, commands an operator. All are POST with a form-encoded
//! body; none is a GET, so that no link and no image can make one happen. The services they call come from context
//! ([`context`]), and that is all that is in their bodies.

mod columns;
// The server macro makes a struct with the arguments as fields, which it does not document.
#[allow(missing_docs)]
pub mod commands;
#[cfg(feature = "ssr")]
pub mod context;
pub mod encoding;
mod error;
#[allow(missing_docs)]
pub mod find;
#[allow(missing_docs)]
pub mod lists;
#[allow(missing_docs)]
pub mod metrics;
pub mod page;
#[allow(missing_docs)]
pub mod reads;
#[allow(missing_docs)]
pub mod settings;
#[allow(missing_docs)]
pub mod verdicts;
pub mod waiting;

pub use error::ApiError;
