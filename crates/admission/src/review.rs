//! `AdmissionReview` v1, as the API server sends it, read as if somebody else had.

use std::fmt;

use serde::Deserialize;
use serde_json::Value;

use crate::{
    Doubt, ImageUse,
    images::{Found, find},
    limits,
};

/// The version that is spoken here.
pub(crate) const API_VERSION: &str = "admission.k8s.io/v1";
/// The kind of document.
pub(crate) const KIND: &str = "AdmissionReview";

/// Group, version and kind.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct GroupKind {
    /// The group; empty for the core's.
    pub group: String,
    /// The version.
    pub version: String,
    /// The kind.
    pub kind: String,
}

impl fmt::Display for GroupKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |text: &str| text.chars().take(80).collect::<String>();
        match self.group.as_str() {
            "" => write!(f, "{} {}", shown(&self.version), shown(&self.kind)),
            group => write!(f, "{}/{} {}", shown(group), shown(&self.version), shown(&self.kind)),
        }
    }
}

/// What the API server is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Operation {
    /// Something new.
    Create,
    /// Something else than before.
    Update,
    /// Something less.
    Delete,
    /// A connection to a pod.
    Connect,
}

impl Operation {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }
}

/// A question of the API server.
#[derive(Debug, Clone, PartialEq)]
pub struct Review {
    /// Its id, which the answer carries.
    pub uid: String,
    /// Of what kind the object is.
    pub kind: GroupKind,
    /// The part of it that is asked for: `ephemeralcontainers`; empty for the whole.
    pub subresource: String,
    /// Its namespace; empty for what has none.
    pub namespace: String,
    /// Its name, or the beginning of the name that it will get.
    pub name: String,
    /// What is to be done.
    pub operation: Operation,
    /// Who asked the API server.
    pub user: String,
    /// Nothing will be kept: neither may the answer have effects.
    pub dry_run: bool,
    /// The images that the object would run, in the order of their places.
    pub images: Vec<ImageUse>,
    /// What is in doubt.
    pub doubts: Vec<Doubt>,
    /// An update that changes no image: what runs or is asked for is what was asked for before.
    pub unchanged: bool,
}

/// Why bytes are not a review.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReviewError {
    /// Longer than a review may be.
    #[error("it has more than {} MiB", limits::REVIEW_BYTES >> 20)]
    TooLarge,
    /// Not JSON, or with a key twice.
    #[error("it cannot be read: {0}")]
    Json(String),
    /// Not this kind or version of document.
    #[error("it is not an AdmissionReview of admission.k8s.io/v1")]
    Version,
    /// A field is missing or of another type.
    #[error("it is not of the form of an AdmissionReview: {0}")]
    Form(String),
    /// Its id is none.
    #[error("its uid is none: 1 to {max} letters, digits and dashes", max = limits::UID)]
    Uid,
    /// A name that is longer than any.
    #[error("a name in it has more than {} characters", limits::NAME)]
    Name,
}

/// Bytes that are not a review, with the id to answer under where there is one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is no review: {why}")]
pub struct NotAReview {
    /// The id.
    pub uid: Option<String>,
    /// Why not.
    pub why: ReviewError,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    uid: String,
    kind: GroupKind,
    #[serde(default)]
    sub_resource: Option<String>,
    #[serde(default)]
    namespace: Option<String>,
    #[serde(default)]
    name: Option<String>,
    operation: Operation,
    #[serde(default)]
    user_info: User,
    #[serde(default)]
    dry_run: Option<bool>,
    #[serde(default)]
    object: Option<Value>,
    #[serde(default)]
    old_object: Option<Value>,
}

#[derive(Deserialize, Default)]
struct User {
    #[serde(default)]
    username: Option<String>,
}

impl Review {
    /// Reads a review.
    pub fn parse(bytes: &[u8]) -> Result<Self, NotAReview> {
        let no = |uid: Option<&str>, why| NotAReview { uid: uid.map(str::to_owned), why };
        if bytes.len() > limits::REVIEW_BYTES {
            return Err(no(None, ReviewError::TooLarge));
        }
        let mut document = gates::strict_json(bytes)
            .map_err(|e| no(None, ReviewError::Json(e.to_string().chars().take(200).collect())))?;
        let said = |key: &str| document.get(key).and_then(Value::as_str);
        if said("apiVersion") != Some(API_VERSION) || said("kind") != Some(KIND) {
            return Err(no(None, ReviewError::Version));
        }
        let uid = document.get("request").and_then(|r| r.get("uid")).and_then(Value::as_str);
        let uid = uid.filter(|uid| is_uid(uid)).map(str::to_owned);
        let Some(uid) = uid else { return Err(no(None, ReviewError::Uid)) };
        let no = |why| NotAReview { uid: Some(uid.clone()), why };
        let request = document.get_mut("request").map(Value::take).unwrap_or_default();
        let request: Request = serde_json::from_value(request)
            .map_err(|error| no(ReviewError::Form(error.to_string().chars().take(200).collect())))?;
        Self::from(request).map_err(no)
    }

    fn from(request: Request) -> Result<Self, ReviewError> {
        let Request { uid, kind, sub_resource, namespace, name, operation, user_info, dry_run, object, old_object } =
            request;
        let found = match (operation, &object) {
            (Operation::Delete | Operation::Connect, _) => {
                Found { uses: Vec::new(), doubts: vec![Doubt::Operation(operation.as_str())] }
            }
            (_, None | Some(Value::Null)) => {
                Found { uses: Vec::new(), doubts: vec![Doubt::Missing("the object".to_owned())] }
            }
            (_, Some(object)) => find(&kind, object),
        };
        let unchanged = operation == Operation::Update
            && !found.uses.is_empty()
            && old_object.as_ref().is_some_and(|old| find(&kind, old) == found);
        // What is created may not have a name yet.
        let metadata = |key: &str| object.as_ref()?.get("metadata")?.get(key)?.as_str().map(str::to_owned);
        let name = name.filter(|name| !name.is_empty()).or_else(|| metadata("name"));
        let name = name.or_else(|| metadata("generateName")).unwrap_or_default();
        let review = Self {
            uid,
            kind,
            subresource: sub_resource.unwrap_or_default(),
            namespace: namespace.unwrap_or_default(),
            name,
            operation,
            user: user_info.username.unwrap_or_default(),
            dry_run: dry_run.unwrap_or(false),
            images: found.uses,
            doubts: found.doubts,
            unchanged,
        };
        let names = [
            &review.kind.group,
            &review.kind.version,
            &review.kind.kind,
            &review.subresource,
            &review.namespace,
            &review.name,
            &review.user,
        ];
        if names.iter().any(|name| name.len() > limits::NAME || name.chars().any(char::is_control)) {
            return Err(ReviewError::Name);
        }
        Ok(review)
    }

    /// An object by itself, as if it were about to be created: what a manifest in a file would be judged as.
    pub fn of_object(object: &Value) -> Result<Self, ReviewError> {
        let said = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
        let (group, version) = match said("apiVersion").split_once('/') {
            Some((group, version)) => (group, version),
            None => ("", said("apiVersion")),
        };
        let metadata = |key: &str| object.get("metadata")?.get(key)?.as_str().map(str::to_owned);
        Self::from(Request {
            uid: "file".to_owned(),
            kind: GroupKind { group: group.to_owned(), version: version.to_owned(), kind: said("kind").to_owned() },
            sub_resource: None,
            namespace: Some(metadata("namespace").unwrap_or_else(|| "default".to_owned())),
            name: metadata("name"),
            operation: Operation::Create,
            user_info: User::default(),
            dry_run: Some(true),
            object: Some(object.clone()),
            old_object: None,
        })
    }
}

fn is_uid(text: &str) -> bool {
    (1..=limits::UID).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}
