//! Folds of the log into what pages read, and the port [`ReadModel`] by which they read it.
//!
//! Pure and shared: the server folds the log into its store, the browser folds the receipts that arrive live into the
//! view it was given, with the same functions.
//!
//! * [`ReleaseRow::of`] and [`ReleaseRow::fold`]: one line of a list.
//! * [`ReleaseView::of`] and [`ReleaseView::fold`]: a release's page. Folding in any split is folding at once, and a receipt
//!   that was folded before is ignored, so a stream may repeat itself after a reconnect.
//! * [`Overview::assemble`] and [`Overview::fold`]: the overview.
//! * [`describe`]: one sentence for one receipt, the same in lists, on its page, in the live region and in the terminal;
//!   [`reason`]: why, if somebody said why.
//! * [`say`]: durations, times, numbers and joules as people read them.
//!
//! A receipt whose facts are not readable, or whose kind says nothing about a rollout, is listed and otherwise changes nothing.
//! The sums of joules take every receipt of a release except `delivery.release.completed`, which is the sum itself.

mod commands;
mod describe;
mod overview;
mod read;
mod row;
pub mod say;
mod thin;
mod view;

pub use commands::commands;
pub use describe::{Description, describe, reason};
pub use read::*;
pub use thin::thin;
