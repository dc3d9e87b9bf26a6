//! Releases: the list and one of them.

mod clocks;
mod compare;
mod controls;
mod drawer;
mod envelope;
mod evidence;
mod list;
mod receipts;
mod replay;
mod show;
mod stages;
mod timeline;

pub use list::{ReleaseTable, ReleasesPage};
pub use show::ReleasePage;
