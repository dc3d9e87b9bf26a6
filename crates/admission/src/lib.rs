//! Admission: whether what a cluster is asked to run may run.
//!
//! Pure: no I/O, no clock. Everything here fails closed: what is not understood, not covered or not known is a reason to refuse.
//!
//! * [`Review::parse`]: an `AdmissionReview` v1 in; which images the object would run, each with its place, and what is in doubt.
//! * [`PolicySet::read`]: policies in TOML and sigstore's `ClusterImagePolicy` documents in YAML; what is not supported is refused by name.
//! * [`needs`]: what has to be looked up for a review; [`Looked`]: what was found, as plain facts.
//! * [`decide`]: review, policies, facts and time in, [`Decision`] out, with a reason for each refusal.
//! * [`answer`]: the decision as the `AdmissionReview` that the API server reads.
//!
//! # Invariants
//! - Labels, annotations and whatever else an object says of itself never speak for it: only proved facts about a digest do.
//! - An image is judged by its digest. A tag is refused, or resolved once and replaced by its digest in the object itself.
//! - An image that no policy covers is refused. Something that could not be found out is refused, and says so.
//! - A pod is judged whole: all kinds of containers, image volumes, the pod templates of all controllers; a field that seems to name an
//!   image and is not known here refuses.

mod answer;
mod cluster_image_policy;
mod decide;
mod glob;
mod image;
mod images;
pub mod limits;
mod policy;
mod review;

pub use answer::answer;
pub use cluster_image_policy::UnsupportedPolicy;
pub use decide::{
    Decision, Fact, FactSigner, ImageDecision, Looked, Need, PinnedImage, Purpose, Reason, ReasonCode, Request, Says,
    decide, needs,
};
pub use glob::{BadGlob, Glob};
pub use image::{BadImage, ImageName};
pub use images::{Doubt, ImageUse};
pub use policy::{
    Authority, By, Exception, Identity, KeyName, Mode, Policy, PolicyError, PolicySet, Quorum, Tags, Text, Want,
};
pub use review::{GroupKind, NotAReview, Operation, Review, ReviewError};
