//! What the browser's own verifier is asked, what is remembered between visits, and what is made of its answers.
//!
//! What it takes to check comes when something is checked ([`crate::parts`]). The server's word is never taken: what is checked are bytes, with
//! the key that was kept at the first visit. Against a server that lied from the start only a key from elsewhere helps; the pages say so.

use std::collections::BTreeMap;

use model::{Timestamp, event::ReleaseCompleted};
use projections::{Receipt, say};
use receipts::{Check, Report};
use serde::{Deserialize, Serialize};
use tlog::{Checkpoint, Hash};

use crate::words::Tone;

/// The head that this browser saw last and believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Leaves.
    pub size: u64,
    /// Root over them.
    pub root: Hash,
    /// When it was seen.
    #[serde(default)]
    pub at: Option<Timestamp>,
}

/// What this browser knows of the log from earlier visits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The key to check with: the one that was kept, else the one that the server states now.
    pub vkey: String,
    /// True when the key is kept at this very visit.
    pub pinned_now: bool,
    /// The head seen last.
    pub seen: Option<Head>,
}

/// What the server said when it was asked how the head seen last and its own belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Consistency {
    /// Nothing had to be asked: no head was seen, or it is the same size.
    NotAsked,
    /// The hashes of a proof, base64.
    Proof(Vec<String>),
    /// Its log is not that long.
    Beyond,
    /// No answer: why.
    NoAnswer(String),
}

/// How the log of now belongs to the log that was seen before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum History {
    /// Nothing was seen before.
    First,
    /// The same head.
    Same(Head),
    /// It has grown and kept all that was seen.
    Grown(Head),
    /// The page shows an earlier head of the same history.
    Older(Head),
    /// It is shorter than it was: receipts that were seen are gone.
    RolledBack(Head, u64),
    /// What was seen is no part of it.
    Forked(Head, u64),
    /// It could not be found out: why.
    Unknown(String),
}

impl History {
    /// What a check says of the head of now and the one seen before.
    pub fn of(check: &Check, now: Option<&Checkpoint>, seen: Option<Head>, asked: &Consistency) -> Self {
        let (Some(seen), Some(now)) = (seen.filter(|s| s.size > 0), now) else {
            return if now.is_none() { Self::Unknown("the checkpoint cannot be read".to_owned()) } else { Self::First };
        };
        match (check, asked) {
            (Check::Passed, _) if now.size == seen.size => Self::Same(seen),
            (Check::Passed, _) if now.size > seen.size => Self::Grown(seen),
            (Check::Passed, _) => Self::Older(seen),
            (Check::Refused(_), _) => Self::Forked(seen, now.size),
            (Check::NotDone(_), Consistency::Beyond) if now.size < seen.size => Self::RolledBack(seen, now.size),
            (Check::NotDone(_), Consistency::NoAnswer(why)) => Self::Unknown(why.clone()),
            (Check::NotDone(why), _) => Self::Unknown(why.clone()),
        }
    }

    /// False when the log of now contradicts what this browser saw.
    pub fn holds(&self) -> bool {
        !matches!(self, Self::RolledBack(..) | Self::Forked(..))
    }

    /// In words: the tone, what is the case, and what it means.
    pub fn said(&self) -> (Tone, String, &'static str) {
        let receipts = |n: u64| say::plural(n, "receipt", "receipts");
        let when = |h: &Head| h.at.map(|t| format!(" at {}", say::exact(t))).unwrap_or_default();
        match self {
            Self::First => (
                Tone::Unknown,
                "no checkpoint was seen before this one".to_owned(),
                "The next visit is checked against it.",
            ),
            Self::Same(h) => {
                (Tone::Good, format!("the log of {} that this browser saw last{}", receipts(h.size), when(h)), "")
            }
            Self::Grown(h) => (
                Tone::Good,
                format!("grown from the log of {} that this browser saw last{}", receipts(h.size), when(h)),
                "Nothing that was seen then has been changed or taken away.",
            ),
            Self::Older(h) => (
                Tone::Good,
                format!("an earlier head of the log of {} that this browser saw last{}", receipts(h.size), when(h)),
                "The page was made before the last receipts.",
            ),
            Self::RolledBack(h, now) => (
                Tone::Bad,
                format!(
                    "The log was rolled back: this browser saw {}{}, the server now has {}",
                    receipts(h.size),
                    when(h),
                    say::count(*now)
                ),
                "Receipts that were there are gone. Do not believe this server: its log was put back to an earlier state, by a restored backup or on purpose. This browser keeps the head that it saw; a copy of the log from that time shows what is missing.",
            ),
            Self::Forked(h, now) => (
                Tone::Bad,
                format!(
                    "The log has forked: the {} that this browser saw{} are not the beginning of the {} that the server shows now",
                    receipts(h.size),
                    when(h),
                    say::count(*now)
                ),
                "Somebody rewrote the log, or shows different logs to different readers. Do not believe this server. This browser keeps the head that it saw: with the signed checkpoint of now it proves the fork.",
            ),
            Self::Unknown(why) => {
                (Tone::Unknown, why.clone(), "It could not be found out whether the log is the one seen before.")
            }
        }
    }
}

/// Whether the page shows what was signed.
pub fn shown(report: &Report, receipt: &Receipt) -> Check {
    match &report.payload {
        _ if report.signature != Check::Passed => Check::NotDone("what was signed is not known".to_owned()),
        Some(payload) if *payload == receipt.payload => Check::Passed,
        Some(_) => Check::Refused("the page shows something else than what was signed".to_owned()),
        None => Check::Refused("what was signed cannot be read".to_owned()),
    }
}

/// What of a receipt does not hold, in one line; `None` when all does.
pub fn refused(report: &Report, receipt: &Receipt) -> Option<String> {
    let shown = shown(report, receipt);
    let checks = [
        ("signature", &report.signature),
        ("inclusion", &report.inclusion),
        ("checkpoint", &report.checkpoint_signature),
        ("shown", &shown),
    ];
    let bad = checks.into_iter().filter_map(|(name, check)| match check {
        Check::Passed => None,
        Check::Refused(why) | Check::NotDone(why) => Some(format!("{name}: {why}")),
    });
    let bad: Vec<String> = bad.collect();
    (!bad.is_empty()).then(|| bad.join("; "))
}

/// Whether the receipt that closes a release covers exactly these leaves: its root is computed again from their hashes.
pub fn closes(facts: &ReleaseCompleted, leaves: &BTreeMap<u64, Hash>) -> Check {
    let indices = facts.ranges.iter().flat_map(|(from, to)| *from..=*to);
    let mut covered = Vec::new();
    for index in indices.take(MAX_CHILDREN) {
        match leaves.get(&index) {
            Some(leaf) => covered.push(*leaf),
            None => return Check::NotDone(format!("receipt {index}, which it covers, was not checked")),
        }
    }
    if covered.len() as u64 != facts.children {
        return Check::Refused(format!(
            "it says that it covers {} receipts, its ranges have {}",
            facts.children,
            covered.len()
        ));
    }
    let root = tlog::root_of_leaves(&covered).to_string();
    if root == facts.root {
        Check::Passed
    } else {
        Check::Refused(format!("the root over them is {root}, it says {}", facts.root))
    }
}

/// Receipts of one release that are put together again here: far more than any release has.
const MAX_CHILDREN: usize = 100_000;

/// How far the check of many receipts is.
#[derive(Debug, Clone)]
#[cfg_attr(not(feature = "hydrate"), allow(dead_code, reason = "checked in the browser only"))]
pub(crate) enum Progress {
    /// Not begun.
    Idle,
    /// Under way.
    Running { done: usize, of: usize },
    /// Could not be done: why.
    Failed(String),
    /// Done.
    Done(Box<Found>),
}

impl Progress {
    /// What the checks found, in markup; empty before they are done.
    pub(crate) fn found(&self) -> String {
        match self {
            Self::Done(found) => found.markup.clone(),
            _ => String::new(),
        }
    }
}

/// What came of many receipts, and the same in markup.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) checked: Checked,
    pub(crate) markup: String,
}

/// What came of it.
#[derive(Debug, Clone, Default)]
#[cfg_attr(not(feature = "hydrate"), allow(dead_code, reason = "checked in the browser only"))]
pub(crate) struct Checked {
    /// Leaf hashes of all that were checked.
    pub(crate) leaves: BTreeMap<u64, Hash>,
    /// What does not hold, by index.
    pub(crate) refused: Vec<(u64, String)>,
    /// How the log belongs to the one seen before; `None` until the first is checked.
    pub(crate) history: Option<History>,
    /// Size of the log whose checkpoint they were held against.
    pub(crate) size: u64,
    /// Whether the receipt that closes the release covers exactly these.
    pub(crate) closing: Option<(u64, Check)>,
    /// The key is kept at this very visit.
    pub(crate) pinned_now: bool,
}

impl Checked {
    /// True when nothing contradicts.
    pub(crate) fn holds(&self) -> bool {
        self.refused.is_empty()
            && self.history.as_ref().is_none_or(History::holds)
            && !matches!(self.closing, Some((_, Check::Refused(_))))
    }
}

/// The size of the log that this browser saw last; 0 when it saw none, and on the server.
pub fn seen_size() -> u64 {
    #[cfg(feature = "hydrate")]
    return Keeper::new().seen_size();
    #[cfg(not(feature = "hydrate"))]
    0
}

#[cfg(feature = "hydrate")]
pub(crate) mod all;
#[cfg(feature = "hydrate")]
pub(crate) use browser::{Asked, NOT_THERE, fetched};
#[cfg(feature = "hydrate")]
pub use browser::{Keeper, check, pause};

#[cfg(feature = "hydrate")]
mod browser {
    use leptos::prelude::window;
    use receipts::{ReceiptParts, Report, Seen};
    use tlog::{Checkpoint, Hash, SignedNote, VerifyingKey};
    use wasm_bindgen::prelude::*;
    use wasm_bindgen_futures::JsFuture;

    use super::{Consistency, Head, History, Known};
    use crate::api::reads::{Between, get_consistency};

    // In one place: each is a file of its own, which every page loads.
    #[wasm_bindgen(inline_js = "
        export function rest() { return new Promise((done) => setTimeout(done)); }
        export async function fetched(path) {
            const answer = await fetch(path);
            if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
            return new Uint8Array(await answer.arrayBuffer());
        }
    ")]
    extern "C" {
        /// Lets the browser draw and listen before the next piece of work.
        pub(crate) fn rest() -> js_sys::Promise;
        /// The bytes at an address of this server.
        pub(crate) fn fetched(path: &str) -> js_sys::Promise;
    }

    /// Where the key and the last head are kept, per log.
    const KEY: &str = "deliveryos.log.vkey";
    const HEAD: &str = "deliveryos.log.head";

    /// What is kept in this browser.
    pub struct Keeper(Option<web_sys::Storage>);

    impl Keeper {
        /// This browser's.
        pub fn new() -> Self {
            Self(window().local_storage().ok().flatten())
        }

        fn stored(&self, name: &str) -> Option<String> {
            self.0.as_ref().and_then(|s| s.get_item(name).ok().flatten())
        }

        /// What is known, or would be kept now.
        pub fn known(&self, stated_vkey: &str) -> Known {
            let kept = self.stored(KEY);
            Known {
                pinned_now: kept.is_none(),
                vkey: kept.unwrap_or_else(|| stated_vkey.to_owned()),
                seen: self.stored(HEAD).and_then(|text| serde_json::from_str(&text).ok()),
            }
        }

        /// The size of the head that is kept; 0 without one.
        pub fn seen_size(&self) -> u64 {
            self.stored(HEAD).and_then(|text| serde_json::from_str::<Head>(&text).ok()).map_or(0, |head| head.size)
        }

        /// Keeps the key, and a head that is longer than the one kept. Only for what holds.
        pub fn remember(&self, known: &Known, head: &Checkpoint, history: &History) {
            let Some(storage) = self.0.as_ref().filter(|_| history.holds()) else { return };
            if known.pinned_now {
                let _ = storage.set_item(KEY, &known.vkey);
            }
            let at = Some(model::Timestamp::from_millis(js_sys::Date::now() as i64));
            let head = Head { size: head.size, root: head.root, at };
            // The one of the same size is kept anew for its time; another tab may have kept a longer one meanwhile.
            let longest =
                self.stored(HEAD).and_then(|text| serde_json::from_str::<Head>(&text).ok()).map_or(0, |h| h.size);
            if head.size >= longest
                && let Ok(text) = serde_json::to_string(&head)
            {
                let _ = storage.set_item(HEAD, &text);
            }
        }
    }

    impl Known {
        /// Asks the server how the head seen last and this checkpoint belong together.
        /// What came with it is taken, when it is about the head seen last.
        pub async fn ask(&self, checkpoint: &str, given: Option<&Between>) -> Consistency {
            let head: Option<Checkpoint> =
                SignedNote::parse(checkpoint.as_bytes()).ok().and_then(|note| note.text().parse().ok());
            match (self.seen, head) {
                (Some(seen), Some(head)) if seen.size != head.size && seen.size > 0 && head.size > 0 => {
                    let found = match given.filter(|given| given.size == seen.size) {
                        Some(given) => Ok(given.proof.clone()),
                        None => get_consistency(seen.size.min(head.size), seen.size.max(head.size)).await,
                    };
                    match found {
                        Ok(Some(proof)) => Consistency::Proof(proof),
                        Ok(None) => Consistency::Beyond,
                        Err(e) => Consistency::NoAnswer(e.to_string()),
                    }
                }
                _ => Consistency::NotAsked,
            }
        }
    }

    /// A receipt that is to be checked.
    pub(crate) struct Asked {
        proof: projections::ReceiptProof,
        /// The pinned key, as a `vkey`.
        vkey: String,
        /// The head seen last.
        seen: Option<Seen>,
        /// Between the smaller and the larger of the two trees, base64.
        consistency: Option<Vec<String>>,
    }

    impl Asked {
        /// Every check apart, or why the parts are not even readable.
        pub(crate) fn checked(self) -> Result<Report, String> {
            let Self { proof, vkey, seen, consistency } = self;
            let key: VerifyingKey = vkey.parse().map_err(|e| format!("the kept key cannot be read: {e}"))?;
            let parts = ReceiptParts::from_text(proof.index, &proof.entry, &proof.inclusion, &proof.checkpoint);
            let parts = parts.map_err(|e| e.to_string())?;
            let consistency = consistency.map(|hashes| hashes.iter().map(|h| Hash::from_base64(h)).collect());
            let consistency: Option<Vec<Hash>> =
                consistency.transpose().map_err(|e| format!("the consistency proof cannot be read: {e}"))?;
            Ok(receipts::verify_receipt(&parts, &key, seen, consistency.as_deref()))
        }
    }

    /// Has one receipt checked.
    pub async fn check(
        proof: &projections::ReceiptProof,
        known: &Known,
        asked: &Consistency,
    ) -> Result<Report, String> {
        let consistency = match asked {
            Consistency::Proof(hashes) => Some(hashes.clone()),
            _ => None,
        };
        let seen = known.seen.map(|h| Seen { size: h.size, root: h.root });
        let asked = Asked { proof: proof.clone(), vkey: known.vkey.clone(), seen, consistency };
        crate::parts::check_receipt(asked).await.unwrap_or_else(|_| Err(NOT_THERE.to_owned()))
    }

    /// Why nothing was checked, when the code for it did not come.
    pub(crate) const NOT_THERE: &str = "the code that checks did not come";

    /// Lets the browser draw and listen before the next piece of work.
    pub async fn pause() {
        let _ = JsFuture::from(rest()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_of_now_and_the_log_seen_before() {
        let head = |size| Head { size, root: Hash([1; 32]), at: None };
        let now = |size| Checkpoint::new("log.example/x", size, Hash([1; 32])).unwrap();
        let (passed, refused, open) =
            (Check::Passed, Check::Refused("no".into()), Check::NotDone("no consistency proof was given".into()));
        let proof = Consistency::Proof(vec![]);
        let of = |check: &Check, size: u64, seen: Option<Head>, asked: &Consistency| {
            History::of(check, Some(&now(size)), seen, asked)
        };
        assert_eq!(of(&open, 9, None, &Consistency::NotAsked), History::First);
        assert_eq!(of(&open, 9, Some(head(0)), &Consistency::NotAsked), History::First);
        assert_eq!(of(&passed, 9, Some(head(9)), &Consistency::NotAsked), History::Same(head(9)));
        assert_eq!(of(&passed, 9, Some(head(5)), &proof), History::Grown(head(5)));
        assert_eq!(of(&passed, 5, Some(head(9)), &proof), History::Older(head(9)));
        assert_eq!(of(&open, 5, Some(head(9)), &Consistency::Beyond), History::RolledBack(head(9), 5));
        for (size, seen) in [(9, 9), (9, 5), (5, 9)] {
            assert_eq!(of(&refused, size, Some(head(seen)), &proof), History::Forked(head(seen), size));
        }
        let silent = Consistency::NoAnswer("the server did not answer".into());
        assert_eq!(of(&open, 9, Some(head(5)), &silent), History::Unknown("the server did not answer".into()));
        assert!(matches!(of(&open, 9, Some(head(5)), &Consistency::Beyond), History::Unknown(_)));
        assert!(matches!(History::of(&open, None, Some(head(5)), &proof), History::Unknown(_)));
        for bad in [History::RolledBack(head(9), 5), History::Forked(head(9), 5)] {
            assert!(!bad.holds() && bad.said().0 == Tone::Bad);
        }
    }

    #[test]
    fn the_closing_receipt_covers_what_it_says() {
        let leaves: BTreeMap<u64, Hash> = (3..8).map(|i| (i, tlog::leaf_hash(&[i as u8]))).collect();
        let root =
            |indices: &[u64]| tlog::root_of_leaves(&indices.iter().map(|i| leaves[i]).collect::<Vec<_>>()).to_string();
        let facts = |children, ranges: &[(u64, u64)], root: String| ReleaseCompleted {
            outcome: model::event::Outcome::Promoted,
            children,
            ranges: ranges.to_vec(),
            root,
        };
        assert_eq!(closes(&facts(4, &[(3, 5), (7, 7)], root(&[3, 4, 5, 7])), &leaves), Check::Passed);
        for bad in [facts(4, &[(3, 5), (7, 7)], root(&[3, 4, 5, 6])), facts(5, &[(3, 5), (7, 7)], root(&[3, 4, 5, 7]))]
        {
            assert!(matches!(closes(&bad, &leaves), Check::Refused(_)));
        }
        assert!(matches!(closes(&facts(2, &[(7, 8)], root(&[7])), &leaves), Check::NotDone(_)));
    }

    #[test]
    fn a_head_kept_before_times_were_kept_is_read() {
        let text = serde_json::to_string(&Head { size: 7, root: Hash([2; 32]), at: None }).unwrap();
        let old = text.replace(",\"at\":null", "");
        assert_ne!(old, text);
        assert_eq!(serde_json::from_str::<Head>(&old).unwrap().size, 7);
    }
}
