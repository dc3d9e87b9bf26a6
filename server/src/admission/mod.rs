//! The webhook that a cluster asks whether a pod may run: `AdmissionReview` v1 over TLS.
//!
//! * [`policies`]: the files, read again when they change; [`evidence`]: what registries hold and what of it proves something;
//!   [`record`]: each decision as a receipt; [`webhook`]: the two addresses, their deadline and bounds; [`tls`]: the listener;
//!   [`manifests`]: what has to be applied to the cluster, and a certificate of one's own; [`preview`]: a manifest in a file, asked about.
//!
//! # Invariants
//! - Every doubt denies: a review that cannot be read, policies that cannot be read, a registry that does not answer, a log that does not
//!   take the receipt, and time that runs out.
//! - What enforces is answered "allowed" only when its receipt is durable.
//! - The registry is asked anew for every decision which evidence there is; only its verification is kept, under the digests of image,
//!   policies, trust root and evidence. Errors are never kept.
//! - The answer comes before the API server gives up, so that it is ours and has a reason.

pub mod evidence;
pub mod limits;
pub mod manifests;
pub mod policies;
pub mod preview;
pub mod record;
pub mod tls;
pub mod webhook;

pub use evidence::Registries;
pub use policies::{Loaded, Policies};
pub use webhook::{Admission, router};
