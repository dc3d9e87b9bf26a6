//! Parts of pages. They show what they are given and fetch nothing.

mod address;
mod digest;
mod header;
mod heading;
mod keys;
mod more;
mod palette;
mod problem;
mod receipts_table;
mod room;
mod settled;
mod state;
mod tiles;
mod time;
mod verify_receipts;
mod weight_bar;

pub use address::{use_rest, use_step};
pub use digest::{DigestText, copy_pressed, digest};
pub use header::{Header, LiveRegion};
pub use heading::Heading;
pub use keys::typing;
pub use more::MoreLink;
pub use palette::Palette;
pub use problem::{ProblemLine, ProblemNote};
pub use receipts_table::receipts_table;
pub use room::{room, written};
pub use settled::Settle;
pub use state::{State, StateOf};
pub use tiles::{MetricTile, Spark};
pub use time::{Ago, Clock};
pub use verify_receipts::VerifyReceipts;
pub use weight_bar::WeightBar;
