//! The receipt verifier as a second browser module, loaded when a receipt is opened.
//!
//! It is given bytes and a key and answers what holds, each check apart, with the arithmetic. It fetches nothing and keeps
//! nothing: what it is asked about is in the request, and nothing in it is taken on the server's word but the key that the
//! browser kept at its first visit.

pub mod range;

use receipts::{ReceiptParts, Report, Seen};
use serde::{Deserialize, Serialize};
use tlog::{Hash, VerifyingKey};
use wasm_bindgen::prelude::wasm_bindgen;

/// Longest request in bytes: the longest entry in base64 is 88 kB, proofs and checkpoint are a few kilobytes; with the
/// `.tlog-proof` text, which repeats the entry, all of it stays below this.
const MAX_REQUEST: usize = 512 * 1024;

/// What is to be checked.
#[derive(Debug, Deserialize)]
struct Request {
    proof: Proof,
    /// The pinned key, as a `vkey`.
    vkey: String,
    /// The head seen last.
    seen: Option<Seen>,
    /// Between the smaller and the larger of the two trees, base64.
    consistency: Option<Vec<String>>,
}

/// The receipt as the page has it.
#[derive(Debug, Deserialize)]
struct Proof {
    index: u64,
    entry: String,
    inclusion: Vec<String>,
    checkpoint: String,
}

/// What came of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Answer {
    /// Every check apart.
    Report(Box<Report>),
    /// The parts are not even readable.
    Unreadable(String),
}

/// Checks a receipt: JSON in, JSON out. Never panics.
#[wasm_bindgen]
pub fn verify(request: &str) -> String {
    let answer = checked(request).map_or_else(Answer::Unreadable, |report| Answer::Report(Box::new(report)));
    serde_json::to_string(&answer).unwrap_or_else(|_| r#"{"unreadable":"the report cannot be written"}"#.to_owned())
}

/// A stretch of the log being checked; see [`range::RangeCheck`].
#[wasm_bindgen]
pub struct Range(range::RangeCheck);

#[wasm_bindgen]
impl Range {
    /// From a request in JSON; on failure why it cannot be read.
    #[wasm_bindgen(constructor)]
    pub fn new(request: &str) -> Result<Range, String> {
        range::RangeCheck::new(request).map(Range)
    }

    /// What is to be fetched now, if anything.
    pub fn wanted(&self) -> Option<String> {
        self.0.wanted()
    }

    /// Takes what was fetched.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.0.feed(bytes);
    }

    /// A few milliseconds of work; false when there is none now.
    pub fn work(&mut self) -> bool {
        self.0.work()
    }

    /// How far it is, in JSON.
    pub fn progress(&self) -> String {
        serde_json::to_string(self.0.progress()).unwrap_or_default()
    }
}

/// Panics, which would be bugs, go to the browser's console.
#[wasm_bindgen(start)]
pub fn start() {
    console_error_panic_hook::set_once();
}

fn checked(request: &str) -> Result<Report, String> {
    if request.len() > MAX_REQUEST {
        return Err(format!("the request has {} bytes, {MAX_REQUEST} are allowed", request.len()));
    }
    let request: Request = serde_json::from_str(request).map_err(|e| format!("the request cannot be read: {e}"))?;
    let key: VerifyingKey = request.vkey.parse().map_err(|e| format!("the kept key cannot be read: {e}"))?;
    let parts = ReceiptParts::from_text(
        request.proof.index,
        &request.proof.entry,
        &request.proof.inclusion,
        &request.proof.checkpoint,
    )
    .map_err(|e| e.to_string())?;
    let consistency =
        request.consistency.map(|hashes| hashes.iter().map(|h| Hash::from_base64(h)).collect::<Result<Vec<_>, _>>());
    let consistency = consistency.transpose().map_err(|e| format!("the consistency proof cannot be read: {e}"))?;
    Ok(receipts::verify_receipt(&parts, &key, request.seen, consistency.as_deref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_panics() {
        for request in [
            "",
            "{}",
            "null",
            "[]",
            r#"{"proof":{"index":0,"entry":"!","inclusion":[],"checkpoint":""},"vkey":"x","seen":null,"consistency":null}"#,
        ] {
            assert!(verify(request).starts_with(r#"{"unreadable":"#), "{request}");
        }
        assert!(verify(&" ".repeat(MAX_REQUEST + 1)).contains("are allowed"));
    }
}
