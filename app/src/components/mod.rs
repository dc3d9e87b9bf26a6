//! Parts of pages. They show what they are given and fetch nothing.

mod address;
mod awaited;
mod chip;
mod digest;
mod header;
mod heading;
mod keys;
mod more;
pub(crate) mod palette;
mod problem;
mod receipts_table;
mod room;
mod settled;
mod state;
mod tiles;
mod time;
mod verify_receipts;
mod weight_bar;

pub use address::use_step;
#[cfg(feature = "hydrate")]
pub(crate) use address::{Changes, use_rest};
pub use awaited::{awaited, read_line, read_page};
pub use chip::chip;
pub use digest::{copy_pressed, digest};
pub use header::{Header, LiveRegion};
pub use heading::Heading;
#[cfg(feature = "hydrate")]
pub(crate) use heading::arrived;
pub use keys::typing;
pub use more::MoreLink;
pub use palette::Palette;
pub use problem::{ProblemLine, ProblemNote};
pub use receipts_table::receipts_table;
#[cfg(feature = "hydrate")]
pub(crate) use room::put;
pub use room::{room, shown, written};
pub use settled::Settle;
pub use state::{state, state_of};
pub use tiles::{metric_tile, spark};
#[cfg(feature = "hydrate")]
pub(crate) use time::tick;
pub use time::{ago, clock, so_far};
pub use verify_receipts::verify_line;
#[cfg(feature = "hydrate")]
pub(crate) use verify_receipts::{check_all, check_pressed};
pub use weight_bar::weight_bar;
