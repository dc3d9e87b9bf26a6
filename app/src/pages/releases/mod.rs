//! Releases: the list and one of them.

pub(crate) mod aside;
#[cfg(feature = "ssr")]
pub(crate) mod chain;
mod clocks;
mod compare;
mod controls;
mod drawer;
mod envelope;
mod evidence;
mod judge;
mod list;
mod receipts;
mod replay;
mod show;
mod stages;
mod table;
mod timeline;

pub use list::ReleasesPage;
pub use show::ReleasePage;

/// The parts of a release's page, for the gallery.
#[cfg(feature = "ssr")]
pub(crate) mod parts {
    pub(crate) use super::{
        clocks::Clocks, controls::Controls, envelope::EnvelopeCard, evidence::EvidenceLine, stages::Stages,
        timeline::Timeline,
    };
}
pub use table::release_table;
