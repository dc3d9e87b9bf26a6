//! What people see: shell, routes, pages, server functions.
//!
//! Every page is rendered on the server with all that it needs, so that reading and commands work without JavaScript. Then the
//! browser's code takes over the same markup and keeps it up to date ([`live`]): it folds the receipts that arrive by the functions
//! of `projections` that the server folded them with.
//!
//! Features: `ssr` on the server, `hydrate` in the browser; never both.

// The view macro makes deep types.
#![recursion_limit = "512"]
// The component macro makes a public struct of properties for each component, wherever the component is.
#![allow(unreachable_pub)]

pub mod api;
mod app;
mod components;
#[cfg(feature = "ssr")]
mod gallery;
pub mod live;
pub mod metrics;
mod pages;
pub mod parts;
pub mod places;
pub mod range;
mod shell;
pub mod timeline;
pub mod verifier;
pub mod words;

pub use app::App;
#[cfg(feature = "hydrate")]
pub use app::hydrate;
#[cfg(feature = "ssr")]
pub use gallery::gallery;
pub use shell::shell;
