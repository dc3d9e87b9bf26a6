//! Pages: one file each. They fetch, and map values of `projections` to components.

mod dora;
mod login;
mod not_found;
mod overview;
mod receipts;
mod releases;
mod search;
mod settings;

pub use self::dora::DoraPage;
pub use login::Login;
pub use not_found::NotFound;
pub use overview::OverviewPage;
pub use receipts::{ReceiptPage, ReceiptsPage};
#[cfg(feature = "ssr")]
pub(crate) use releases::parts as release_parts;
pub use releases::{ReleasePage, ReleasesPage};
pub use search::SearchPage;
pub use settings::SettingsPage;
