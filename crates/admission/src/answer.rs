//! The decision as the API server reads it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{
    Decision, Mode, limits,
    review::{API_VERSION, KIND},
};

/// Status code of a denial: forbidden.
const FORBIDDEN: u16 = 403;

/// The `AdmissionReview` that answers the review with this id.
pub fn answer(uid: &str, decision: &Decision) -> Value {
    let mut response = json!({ "uid": uid, "allowed": decision.allowed });
    let warnings: Vec<String> = decision
        .reasons
        .iter()
        .filter(|reason| reason.mode == Mode::Warn)
        .map(|reason| cut(&reason.text, limits::WARNING))
        .take(limits::WARNINGS)
        .collect();
    if let Some(fields) = response.as_object_mut() {
        if !decision.allowed {
            fields.insert("status".to_owned(), json!({ "code": FORBIDDEN, "message": message(decision) }));
        }
        if !warnings.is_empty() {
            fields.insert("warnings".to_owned(), json!(warnings));
        }
        let noted: Vec<&str> =
            decision.reasons.iter().filter(|r| r.mode != Mode::Enforce).map(|r| r.text.as_str()).collect();
        if !noted.is_empty() {
            let text = cut(&noted.join("; "), limits::MESSAGE);
            fields.insert("auditAnnotations".to_owned(), json!({ "would-deny": text }));
        }
        if decision.allowed && !decision.pins.is_empty() {
            // Each replacement is tied to what was judged: when another webhook was faster, the API server refuses the patch.
            let patch: Vec<Value> = decision
                .pins
                .iter()
                .flat_map(|pin| {
                    [
                        json!({ "op": "test", "path": pin.place, "value": pin.from }),
                        json!({ "op": "replace", "path": pin.place, "value": pin.to }),
                    ]
                })
                .collect();
            fields.insert("patchType".to_owned(), json!("JSONPatch"));
            fields.insert("patch".to_owned(), json!(STANDARD.encode(Value::Array(patch).to_string())));
        }
    }
    json!({ "apiVersion": API_VERSION, "kind": KIND, "response": response })
}

/// Why, in one text.
fn message(decision: &Decision) -> String {
    let why: Vec<&str> = decision.reasons.iter().filter(|r| r.mode == Mode::Enforce).map(|r| r.text.as_str()).collect();
    cut(&format!("refused by DeliveryOS: {}", why.join("; ")), limits::MESSAGE)
}

fn cut(text: &str, most: usize) -> String {
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    if text.chars().count() <= most { clean.collect() } else { clean.take(most - 1).chain(['…']).collect() }
}
