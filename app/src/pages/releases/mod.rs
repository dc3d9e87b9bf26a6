//! Releases: the list and one of them.
//!
//! ```text
//! show      what is loaded, and who draws it       list, table  the list
//! page      the state of a release's page          drawer       a receipt beside it
//! rooms     its markup, and what is written again  chain        what is known of its image, on the server
//! board     the browser's side: what is pressed, what arrives, what is drawn
//! ```
//! The rest are the page's parts: functions from the state to markup.

#[cfg_attr(not(feature = "hydrate"), allow(dead_code, reason = "code is compiled late in the browser"))]
mod ahead;
pub(crate) mod aside;
#[cfg(feature = "hydrate")]
mod board;
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
#[cfg_attr(not(feature = "hydrate"), allow(dead_code, reason = "what changes the page is in the browser"))]
mod page;
mod receipts;
mod replay;
#[cfg_attr(not(feature = "hydrate"), allow(dead_code, reason = "rooms are written again in the browser"))]
mod rooms;
mod rows;
mod show;
mod stages;
mod table;
mod timeline;
mod who;

#[cfg(feature = "ssr")]
pub(crate) use compare::column;
pub use list::ReleasesPage;
pub use show::ReleasePage;
#[cfg(feature = "ssr")]
pub(crate) use show::sample;
pub use table::release_table;
