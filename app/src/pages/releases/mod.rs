//! Releases: the list and one of them.

mod clocks;
mod controls;
mod envelope;
mod evidence;
mod list;
mod show;
mod timeline;

pub use list::{ReleaseTable, ReleasesPage};
pub use show::ReleasePage;
