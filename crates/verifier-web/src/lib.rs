//! The receipt verifier as a second, lazily loaded browser module.
//!
//! The page loads `pkg/verifier.js` when a receipt is opened and calls [`verify`] with text from anywhere: the server that the page came
//! from, a file. The module fetches nothing and believes nothing but the key it is given. It checks what `receipts::verify_receipt` checks:
//! the receipt's signature, the checkpoint's signature, inclusion at its place, consistency with the tree head that this browser saw last.
//!
//! Text goes in and text comes out (JSON), so that the two modules share no memory and no version of a type.

use receipts::{ReceiptParts, Report, Seen, verify_receipt};
use serde::{Deserialize, Serialize};
use wasm_bindgen::prelude::wasm_bindgen;

/// Longest request in bytes: an entry of 65,535 bytes in base64, two proofs of 64 hashes and a checkpoint are below 100 kB.
const MAX_REQUEST: usize = 256 * 1024;

/// What [`verify`] is asked, as JSON.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The receipt's place in the log.
    pub index: u64,
    /// The entry's bytes, base64.
    pub entry: String,
    /// Inclusion proof, base64 hashes from the leaf's sibling upwards.
    pub inclusion: Vec<String>,
    /// The signed checkpoint as it is.
    pub checkpoint: String,
    /// The key that this browser trusts, as c2sp.org/signed-note writes it.
    pub vkey: String,
    /// The tree head that this browser believed last.
    #[serde(default)]
    pub seen: Option<Seen>,
    /// From the smaller of the two trees to the larger, base64 hashes.
    #[serde(default)]
    pub consistency: Option<Vec<String>>,
}

/// What [`verify`] answers, as JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case", tag = "result", content = "value")]
pub enum Answer {
    /// The checks were made; each has its own outcome in it.
    Report(Box<Report>),
    /// The request cannot be read, so nothing was checked.
    Unreadable(String),
}

/// Checks one receipt. Takes [`Request`] as JSON, answers [`Answer`] as JSON.
#[wasm_bindgen]
pub fn verify(request: &str) -> String {
    console_error_panic_hook::set_once();
    let answer = answer(request);
    serde_json::to_string(&answer).unwrap_or_else(|error| {
        // An `Answer` is plain data; if it ever is not, say so in the form that the page reads.
        format!(r#"{{"result":"unreadable","value":{:?}}}"#, error.to_string())
    })
}

fn answer(request: &str) -> Answer {
    match checked(request) {
        Ok(report) => Answer::Report(Box::new(report)),
        Err(reason) => Answer::Unreadable(reason),
    }
}

fn checked(request: &str) -> Result<Report, String> {
    if request.len() > MAX_REQUEST {
        return Err(format!("the request is longer than {MAX_REQUEST} bytes"));
    }
    let request: Request =
        serde_json::from_str(request).map_err(|error| format!("the request cannot be read: {error}"))?;
    let parts = ReceiptParts::from_text(request.index, &request.entry, &request.inclusion, &request.checkpoint)
        .map_err(|error| error.to_string())?;
    let pinned: tlog::VerifyingKey =
        request.vkey.parse().map_err(|error| format!("the trusted key cannot be read: {error}"))?;
    let consistency = request.consistency.as_deref().map(hashes).transpose()?;
    Ok(verify_receipt(&parts, &pinned, request.seen, consistency.as_deref()))
}

fn hashes(texts: &[String]) -> Result<Vec<tlog::Hash>, String> {
    if texts.len() > tlog::proof::MAX_PROOF_HASHES {
        return Err(format!("the consistency proof has more than {} hashes", tlog::proof::MAX_PROOF_HASHES));
    }
    let parsed = texts.iter().map(|text| tlog::Hash::from_base64(text));
    parsed.collect::<Result<_, _>>().map_err(|_| "the consistency proof is not a list of hashes in base64".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_said_and_nothing_is_checked() {
        let long = "x".repeat(MAX_REQUEST + 1);
        let rows = [
            ("", "cannot be read"),
            ("{}", "missing field"),
            (long.as_str(), "longer than"),
            (r#"{"index":0,"entry":"?","inclusion":[],"checkpoint":"","vkey":""}"#, "the entry is not"),
            (r#"{"index":0,"entry":"","inclusion":["a"],"checkpoint":"","vkey":""}"#, "the inclusion proof is not"),
            (r#"{"index":0,"entry":"","inclusion":[],"checkpoint":"","vkey":""}"#, "not a signed note"),
            (r#"{"index":0,"entry":"","inclusion":[],"checkpoint":"","vkey":"","trust":"me"}"#, "unknown field"),
        ];
        for (request, reason) in rows {
            match answer(request) {
                Answer::Unreadable(said) => assert!(said.contains(reason), "{request}: {said}"),
                Answer::Report(_) => panic!("{request} was checked"),
            }
        }
    }
}
