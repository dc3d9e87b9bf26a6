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
#[cfg(feature = "ssr")]
pub(crate) use overview::sample as overview_sample;
#[cfg(feature = "hydrate")]
pub(crate) use receipts::range_work;
pub use receipts::{ReceiptPage, ReceiptsPage};
pub(crate) use releases::aside as release_aside;
pub use releases::{ReleasePage, ReleasesPage};
#[cfg(feature = "ssr")]
pub(crate) use releases::{chain as release_chain, column as release_column, sample as release_sample};
pub use search::SearchPage;
pub use settings::SettingsPage;
