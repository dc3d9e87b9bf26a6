//! Parts of pages. They show what they are given and fetch nothing.

mod digest;
mod header;
mod heading;
mod problem;
mod receipts_table;
mod state;
mod time;
mod weight_bar;

pub use digest::DigestText;
pub use header::{Header, LiveRegion};
pub use heading::Heading;
pub use problem::ProblemNote;
pub use receipts_table::ReceiptsTable;
pub use state::{State, StateOf};
pub use time::{Ago, Clock};
pub use weight_bar::WeightBar;
