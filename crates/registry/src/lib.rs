//! OCI images where they lie: layouts in folders ([`Layout`]), registries over HTTP ([`Registry`]), and the way from one to the other.
//!
//! * [`Place`]: the port, a place that holds images; its conformance suite is behind the feature `conformance`.
//! * [`graph`]: an image with everything that belongs to it: children of an index, referrers of each, cosign's tags of old.
//! * [`promote`]: copies a graph, proves that it arrived, and only then tags it.
//! * [`bundles`]: Sigstore bundles beside an image, attached and found as cosign 3 does.
//! * [`environments`]: who may promote what where, and when: a pure decision.
//! * [`image`]: makes an image from a program, the same bytes each time.
//!
//! # Invariants
//! - A digest is believed after its bytes were hashed here, never because somebody said so. Bytes that differ are refused by name.
//! - A manifest is copied byte for byte and never written again from its parsed form.
//! - "Not there" (404) is told from "may not" (401, 403), "not now" (429, 5xx) and "not reached"; only the first means that there is none.
//! - Nothing is tagged before its evidence is there and was read back.
//! - Every size, count, time and retry has its limit in [`limits`].

pub mod bundles;
pub mod environments;
mod error;
pub mod graph;
pub mod image;
mod layout;
pub mod limits;
mod manifest;
mod place;
pub mod promote;
mod reference;
mod remote;

#[cfg(feature = "conformance")]
#[allow(clippy::unwrap_used, clippy::expect_used, missing_docs)] // test machinery: a panic is its way to say no
pub mod conformance;
#[cfg(feature = "conformance")]
#[allow(clippy::unwrap_used, clippy::expect_used)] // the same
pub mod hostile;

pub use error::Error;
pub use layout::Layout;
pub use manifest::{
    Contents, Descriptor, EMPTY_CONFIG, EMPTY_CONFIG_BYTES, IMAGE_MANIFEST, INDEX, Manifest, Platform, digest_of,
};
pub use place::{ByteStream, Fetched, Held, Origin, Place, Source, checked, read_whole};
pub use reference::{At, Reference, Tag};
pub use remote::{Credentials, Registry, RegistryOptions};
