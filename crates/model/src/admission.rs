//! Facts of [`Kind::AdmissionAllowed`](crate::Kind::AdmissionAllowed) and [`Kind::AdmissionDenied`](crate::Kind::AdmissionDenied).

use serde::{Deserialize, Serialize};

use crate::Digest;

/// What was decided about an object that a cluster was asked to run, and by what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdmissionDecided {
    /// `allowed` or `denied`: what the cluster was answered.
    pub decision: String,
    /// Id of the review.
    pub review: String,
    /// `CREATE` or `UPDATE`.
    pub operation: String,
    /// Kind of the object: `v1 Pod`, with its subresource when one was asked for.
    pub object_kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name, or the beginning of the name that it gets.
    pub name: String,
    /// Who asked the cluster.
    pub user: String,
    /// The images, the first of them.
    pub images: Vec<AdmittedImage>,
    /// How many images there are.
    pub images_total: u64,
    /// What speaks against it, the first of it. Of something allowed, what only warns or is noted.
    pub reasons: Vec<String>,
    /// How many reasons there are.
    pub reasons_total: u64,
    /// Exceptions that it rests on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exceptions: Vec<String>,
    /// Digest of the policies' texts, when they could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_digest: Option<Digest>,
    /// Digest of the trust root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust_root: Option<Digest>,
}

/// What was decided of one image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdmittedImage {
    /// As it is written.
    pub image: String,
    /// Its digest, where it is named by one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// What uses it: `container "app"`.
    pub by: String,
    /// Nothing speaks against it.
    pub passed: bool,
    /// Policies and exceptions that it was held against.
    pub policies: Vec<String>,
    /// Digests of the bundles that the policies rest on.
    pub evidence: Vec<Digest>,
}
