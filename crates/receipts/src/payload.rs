//! The flat JSON that a receipt states.

use std::fmt;

use model::{Actor, Energy, Kind, ReleaseId, Timestamp};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, Error as _, MapAccess, Visitor},
};
use serde_json::{Map, Value};

use crate::finite;

/// What a receipt states: common fields, and the facts of its kind beside them, flat.
///
/// ```json
/// {"actor":"dana","cite":["Argo Rollouts 1.10"],"joules":0.02,"kind":"delivery.canary.stepped","release":"checkout-7",
///  "strategy":"canary","step":0,"time":"2026-05-07T13:40:01.000Z","weight":5, …}
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Payload {
    /// What happened.
    pub kind: Kind,
    /// The release it belongs to, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleaseId>,
    /// When it happened.
    pub time: Timestamp,
    /// Who did it.
    pub actor: Actor,
    /// Specifications and versions that the operation followed, and the peers it talked to.
    pub cite: Vec<String>,
    /// Energy of the operation; the same number as `energy.joules`, present when it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub joules: Option<f64>,
    /// How the joules came about.
    #[serde(skip_serializing_if = "Option::is_none")]
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

/// Reads the fields as they come. (What the derive makes for a flattened map keeps all of them aside first and reads them from there:
/// every page reads some hundred receipts.)
impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PayloadVisitor)
    }
}

struct PayloadVisitor;

impl<'de> Visitor<'de> for PayloadVisitor {
    type Value = Payload;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the payload of a receipt")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Payload, A::Error> {
        fn once<'de, T: Deserialize<'de>, A: MapAccess<'de>>(
            field: &mut Option<T>,
            name: &'static str,
            map: &mut A,
        ) -> Result<(), A::Error> {
            if field.replace(map.next_value()?).is_some() {
                return Err(A::Error::duplicate_field(name));
            }
            Ok(())
        }
        let (mut kind, mut release, mut time, mut actor) = (None, None, None, None);
        let (mut cite, mut joules, mut energy, mut facts) = (None, None, None, Map::new());
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "kind" => once(&mut kind, "kind", &mut map)?,
                "release" => once(&mut release, "release", &mut map)?,
                "time" => once(&mut time, "time", &mut map)?,
                "actor" => once(&mut actor, "actor", &mut map)?,
                "cite" => once(&mut cite, "cite", &mut map)?,
                "joules" => once(&mut joules, "joules", &mut map)?,
                "energy" => once(&mut energy, "energy", &mut map)?,
                _ => {
                    facts.insert(name, map.next_value()?);
                }
            }
        }
        let missing = A::Error::missing_field;
        Ok(Payload {
            kind: kind.ok_or_else(|| missing("kind"))?,
            release: release.flatten(),
            time: time.ok_or_else(|| missing("time"))?,
            actor: actor.ok_or_else(|| missing("actor"))?,
            cite: cite.ok_or_else(|| missing("cite"))?,
            joules: joules.flatten(),
            energy: energy.flatten(),
            facts,
        })
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"{"actor":"dana","cite":["Argo Rollouts 1.10"],"joules":null,"kind":"delivery.canary.stepped",
        "release":"checkout-7","time":"2026-05-07T13:40:01.000Z","weight":5,"deep":{"a":[1,2.5,null]},"weight":25}"#;

    #[test]
    fn fields_are_read_in_any_order_and_the_others_are_facts() {
        let read: Payload = serde_json::from_str(WHOLE).unwrap();
        assert_eq!(
            (read.kind, read.actor.as_str(), read.joules, read.energy.is_some()),
            (Kind::CanaryStepped, "dana", None, false)
        );
        assert_eq!(read.release.as_ref().unwrap().as_str(), "checkout-7");
        assert_eq!(
            Value::Object(read.facts.clone()),
            serde_json::json!({ "weight": 25, "deep": { "a": [1, 2.5, null] } })
        );
        let again: Payload = serde_json::from_value(serde_json::to_value(&read).unwrap()).unwrap();
        assert_eq!(again, read);
    }

    #[test]
    fn what_is_missing_or_there_twice_is_named() {
        for (name, needed) in
            [("kind", true), ("time", true), ("actor", true), ("cite", true), ("release", false), ("joules", false)]
        {
            let mut all: Map<String, Value> = serde_json::from_str(WHOLE).unwrap();
            let taken = all.remove(name).unwrap();
            let without = serde_json::from_value::<Payload>(Value::Object(all));
            let said = without.as_ref().err().map(ToString::to_string).unwrap_or_default();
            assert_eq!(said, if needed { format!("missing field `{name}`") } else { String::new() });
            let doubled = WHOLE.replacen('{', &format!("{{\"{name}\":{taken},"), 1);
            let said = serde_json::from_str::<Payload>(&doubled).unwrap_err().to_string();
            assert!(said.starts_with(&format!("duplicate field `{name}`")), "{said}");
        }
        for other in ["[]", "null", "\"kind\"", "7"] {
            let said = serde_json::from_str::<Payload>(other).unwrap_err().to_string();
            assert!(said.contains("expected the payload of a receipt"), "{said}");
        }
    }
}
