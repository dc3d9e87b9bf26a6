//! The timeline of a release, drawn by `plotters` as SVG: the same code on the server and in the browser.
//!
//! Two drawings share one axis of time. [`chart`] has the lines and changes with each tick; [`marks`] has people, verdicts and
//! receipts, which are links and keep the focus, so it changes only when a receipt arrives. [`table`] says the same in rows, and
//! [`reading`] what all lanes say at one moment. [`Zoom`] is the part of the axis that is shown.

mod axis;
mod backend;
mod chart;
mod cursor;
mod evidence;
mod lanes;
mod limits;
mod marks;
mod series;
mod table;

pub use axis::{Axis, Zoom};
pub use chart::chart;
pub use cursor::{Reading, reading};
pub use evidence::{
    EvidencePoint, HEIGHT as EVIDENCE_HEIGHT, Lines, difference_words, evidence_chart, evidence_points, odds,
    ratio_words,
};
pub use limits::Limits;
pub use marks::marks;
pub use series::{BAND_OVER_MS, ERRORS_OVER_MS, Point, points};
pub use table::{MAX_ROWS, TableRow, table};

/// Width of both drawings.
pub const WIDTH: u32 = 1216;
/// Height of both drawings together.
pub const HEIGHT: u32 = chart::HEIGHT + marks::HEIGHT.unsigned_abs();
/// Where time begins.
pub const LEFT: i32 = 92;
/// Where time ends.
pub const RIGHT: i32 = 1100;
