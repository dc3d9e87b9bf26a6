//! The flat JSON that a receipt states.

use model::{Actor, Energy, Kind, ReleaseId, Timestamp};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::finite;

/// What a receipt states: common fields, and the facts of its kind beside them, flat.
///
/// ```json
/// {"actor":"dana","cite":["Argo Rollouts 1.10"],"joules":0.02,"kind":"delivery.canary.stepped","release":"checkout-7",
///  "strategy":"canary","step":0,"time":"2026-05-07T13:40:01.000Z","weight":5, …}
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Payload {
    /// What happened.
    pub kind: Kind,
    /// The release it belongs to, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleaseId>,
    /// When it happened.
    pub time: Timestamp,
    /// Who did it.
    pub actor: Actor,
    /// Specifications and versions that the operation followed, and the peers it talked to.
    pub cite: Vec<String>,
    /// Energy of the operation; the same number as `energy.joules`, present when it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joules: Option<f64>,
    /// How the joules came about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub energy: Option<Energy>,
    /// The facts of the kind (`model::event`), and further fields.
    #[serde(flatten)]
    pub facts: Map<String, Value>,
}

/// Facts of [`Kind::KeyRotated`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRotated {
    /// Always `ed25519`.
    pub algorithm: String,
    /// The log's name, the first line of its checkpoints.
    pub origin: String,
    /// The key that signs from here on, as c2sp.org/signed-note writes it.
    pub vkey: String,
    /// Its id in the envelopes.
    pub keyid: String,
    /// Id of the key before; `None` for a log's first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// Why.
    pub reason: String,
}

/// A payload that cannot be read or made.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// The facts of a kind are not what the kind requires.
    #[error("the facts of {kind} are not readable")]
    Facts {
        /// The kind.
        kind: Kind,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// A fact is NaN or infinite.
    #[error("the facts of {kind} cannot be stated: {reason}")]
    NotFinite {
        /// The kind.
        kind: Kind,
        /// Which value.
        reason: String,
    },
    /// Facts must be a JSON object and must not use a common field's name.
    #[error("facts must be an object without the common field {0:?}")]
    Reserved(&'static str),
}

/// Names of the common fields, which facts may not use.
pub(crate) const COMMON: [&str; 8] = ["kind", "release", "time", "actor", "cite", "joules", "energy", "sig"];

impl Payload {
    /// A payload with the facts of its kind; energy and release can be set afterwards.
    pub fn new(kind: Kind, time: Timestamp, actor: Actor, facts: &impl Serialize) -> Result<Self, PayloadError> {
        // `to_value` would silently make NaN and infinities null.
        finite::check(facts).map_err(|error| PayloadError::NotFinite { kind, reason: error.to_string() })?;
        let value = serde_json::to_value(facts).map_err(|source| PayloadError::Facts { kind, source })?;
        let Value::Object(facts) = value else { return Err(PayloadError::Reserved("")) };
        if let Some(name) = COMMON.into_iter().find(|c| facts.contains_key(*c)) {
            return Err(PayloadError::Reserved(name));
        }
        Ok(Self { kind, release: None, time, actor, cite: Vec::new(), joules: None, energy: None, facts })
    }

    /// For a release.
    pub fn release(mut self, release: ReleaseId) -> Self {
        self.release = Some(release);
        self
    }
    /// With what it followed.
    pub fn cite(mut self, cite: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.cite = cite.into_iter().map(Into::into).collect();
        self
    }
    /// With its energy.
    pub fn energy(mut self, energy: Energy) -> Self {
        self.joules = Some(energy.joules);
        self.energy = Some(energy);
        self
    }
    /// The facts as the struct that `model::event` has for the kind.
    pub fn facts<T: DeserializeOwned>(&self) -> Result<T, PayloadError> {
        T::deserialize(&self.facts).map_err(|source| PayloadError::Facts { kind: self.kind, source })
    }
}
