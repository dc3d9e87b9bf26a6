//! "Verified in this browser": the page's own code checks signature, inclusion, checkpoint and consistency, and shows the arithmetic.
//!
//! The verifier is a module of its own, loaded when a receipt is opened. It never takes the server's word: what it is given are
//! bytes, and the key that was kept at the first visit. Against a server that lied from the start only a key from elsewhere
//! helps; the block says so.

use leptos::prelude::*;
use projections::say;
use receipts::{Check, Report};

use crate::{api::reads::ReceiptPage, words::Tone};

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(not(feature = "hydrate"), allow(dead_code, reason = "checked in the browser only"))]
pub(super) enum Outcome {
    /// Not begun: the browser's code is not there (yet).
    Asleep,
    /// Under way.
    Checking,
    /// Could not be done at all.
    Failed(String),
    /// Done.
    Done(Box<Done>),
}

/// A report with what was known before.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Done {
    report: Report,
    /// True when the key was kept at this very visit.
    pinned_now: bool,
    /// The key that was kept.
    vkey: String,
    /// Size of the log at the visit before.
    seen: Option<u64>,
    /// Whether the page above shows what was signed.
    shown: Check,
}

/// The block.
#[component]
pub(super) fn Verification(
    /// The receipt with its proof.
    page: ReceiptPage,
) -> impl IntoView {
    let index = page.receipt.index;
    let outcome = RwSignal::new(Outcome::Asleep);
    let page = StoredValue::new(page);
    Effect::new(move |_| {
        #[cfg(feature = "hydrate")]
        browser::check(page.get_value(), outcome);
        #[cfg(not(feature = "hydrate"))]
        let _ = page;
    });
    view! {
        <section class="verified" aria-labelledby="verified">
            <h2 id="verified">"Verified in this browser"</h2>
            <div aria-live="polite">
                {move || match outcome.get() {
                    Outcome::Asleep => view! {
                        <p class="none">
                            "Not checked here: this needs the page's own code, which is not running. In a terminal, without this server's word:"
                        </p>
                        <pre><code>{format!("deliveryos receipt verify receipt-{index}.tlog-proof")}</code></pre>
                    }.into_any(),
                    Outcome::Checking => view! { <p class="state run">"Checking"</p> }.into_any(),
                    Outcome::Failed(why) => view! { <p class="state unknown">"Could not be checked: "{why}</p> }.into_any(),
                    Outcome::Done(done) => view! { <Checks done=*done/> }.into_any(),
                }}
            </div>
        </section>
    }
}

#[component]
fn Checks(done: Done) -> impl IntoView {
    let r = done.report;
    let all =
        [&r.signature, &r.inclusion, &r.checkpoint_signature, &done.shown].into_iter().all(|c| *c == Check::Passed)
            && !matches!(r.consistency, Check::Refused(_));
    let (tone, verdict) =
        if all { (Tone::Good, "This receipt holds") } else { (Tone::Bad, "Refused: do not believe this receipt") };
    let head = r.checkpoint.clone();
    let size = head.as_ref().map_or(0, |h| h.size);
    let root = head.as_ref().map(|h| h.root.to_string());
    let origin = head.as_ref().map(|h| h.origin.clone());
    let seen = match (done.seen, &r.consistency) {
        (None, _) => {
            "this is the first checkpoint that this browser saw: the next visit is checked against it".to_owned()
        }
        (Some(s), _) => format!("with the log of {} that this browser saw last", say::plural(s, "receipt", "receipts")),
    };
    let trust = if done.pinned_now {
        "Key kept now, at the first visit: from here on a changed key or a rewritten log is noticed. Against a server that lied from the start only a key obtained elsewhere protects."
    } else {
        "Checked with the key that this browser kept at its first visit."
    };
    view! {
        <p class=format!("verdict state {}", tone.class())>{verdict}</p>
        <CheckLine name="Shown" check=done.shown said="what the page shows is what was signed">
            <p>"The payload that was signed, read by the verifier, equals the one that the server rendered."</p>
        </CheckLine>
        <CheckLine name="Signature" check=r.signature.clone() said="signed by the log's key, Ed25519 over the DSSE encoding">
            <p>"Key id"</p><code class="hash">{r.keyid.clone().unwrap_or_else(|| "none".to_owned())}</code>
            <p>"Leaf hash, SHA-256 of 0x00 and the entry's bytes"</p><code class="hash">{r.leaf_hash.to_string()}</code>
        </CheckLine>
        <CheckLine name="Inclusion" check=r.inclusion.clone() said=format!("at its place in the log of {}", say::plural(size, "receipt", "receipts"))>
            <ol class="steps">
                {r.inclusion_steps.iter().map(|s| view! {
                    <li>
                        <span class="part">{side(s.side)}" "<code class="hash">{s.sibling.to_string()}</code></span>
                        <span class="part">{leaves(s.first_leaf, s.end_leaf)}" "<code class="hash">{s.result.to_string()}</code></span>
                    </li>
                }).collect_view()}
            </ol>
            <p>"Each step: SHA-256 of 0x01, the left and the right half. The last one is the root in the checkpoint"</p><code class="hash">{root}</code>
        </CheckLine>
        <CheckLine name="Checkpoint" check=r.checkpoint_signature.clone() said="the log's head is signed by the same key">
            <p>"Origin "<code>{origin}</code>", size "{say::count(size)}</p>
            <p>"Key"</p><code class="hash">{done.vkey}</code>
        </CheckLine>
        <CheckLine name="Consistency" check=r.consistency.clone() said=seen>
            <ol class="steps">
                {r.consistency_steps.iter().map(|s| view! {
                    <li>
                        <span class="part">{side(s.side)}" "<code class="hash">{s.sibling.to_string()}</code></span>
                        <span class="part">"then "<code class="hash">{s.old.to_string()}</code></span>
                        <span class="part">"now "<code class="hash">{s.new.to_string()}</code></span>
                    </li>
                }).collect_view()}
            </ol>
            <p>"Each step: SHA-256 of 0x01, the left and the right half, for the log then and the log now. The last ones are their roots."</p>
        </CheckLine>
        <p class="mute trust">{trust}</p>
    }
}

/// A check: passed, refused with its reason, or not done with its reason; opens to the bytes.
#[component]
fn CheckLine(name: &'static str, check: Check, #[prop(into)] said: String, children: Children) -> impl IntoView {
    let (tone, said) = match check {
        Check::Passed => (Tone::Good, said),
        Check::Refused(why) => (Tone::Bad, why),
        Check::NotDone(why) => (Tone::Unknown, why),
    };
    view! {
        <details class="check">
            <summary><span class=format!("state {}", tone.class())><b>{name}</b></span>" "<span class="mute">{said}</span></summary>
            <div class="bytes">{children()}</div>
        </details>
    }
}

/// Which half a proof's hash is.
fn side(side: tlog::Side) -> &'static str {
    match side {
        tlog::Side::Left => "left half",
        tlog::Side::Right => "right half",
    }
}

/// What a node stands over.
fn leaves(first: u64, end: u64) -> String {
    format!("gives {} to {}", say::count(first), say::count(end.saturating_sub(1)))
}

#[cfg(feature = "hydrate")]
mod browser {
    use leptos::{prelude::*, task::spawn_local};
    use receipts::{Check, Report, Seen};
    use serde::{Deserialize, Serialize};
    use tlog::{Checkpoint, SignedNote};
    use wasm_bindgen::prelude::*;
    use wasm_bindgen_futures::JsFuture;

    use super::{Done, Outcome};
    use crate::api::reads::{ReceiptPage, get_consistency};

    #[wasm_bindgen(inline_js = "
        let loaded;
        export function verify(request) {
            loaded ??= import('/pkg/verifier.js').then(async (m) => { await m.default({ module_or_path: '/pkg/verifier.wasm' }); return m; });
            return loaded.then((m) => m.verify(request), (e) => { loaded = undefined; throw e; });
        }
    ")]
    extern "C" {
        #[wasm_bindgen(catch)]
        fn verify(request: &str) -> Result<js_sys::Promise, JsValue>;
    }

    /// Where the key and the last head are kept, per log.
    const KEY: &str = "deliveryos.log.vkey";
    const HEAD: &str = "deliveryos.log.head";

    #[derive(Serialize)]
    struct Request<'a> {
        proof: &'a projections::ReceiptProof,
        vkey: &'a str,
        seen: Option<Seen>,
        consistency: Option<Vec<String>>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Answer {
        Report(Box<Report>),
        Unreadable(String),
    }

    pub(super) fn check(page: ReceiptPage, outcome: RwSignal<Outcome>) {
        outcome.set(Outcome::Checking);
        spawn_local(async move {
            let result = match checked(&page).await {
                Ok(done) => Outcome::Done(Box::new(done)),
                Err(why) => Outcome::Failed(why),
            };
            let _ = outcome.try_set(result);
        });
    }

    async fn checked(page: &ReceiptPage) -> Result<Done, String> {
        let storage = window().local_storage().ok().flatten();
        let stored = |name: &str| storage.as_ref().and_then(|s| s.get_item(name).ok().flatten());
        let kept = stored(KEY);
        let pinned_now = kept.is_none();
        let vkey = kept.unwrap_or_else(|| page.vkey.clone());
        let seen: Option<Seen> = stored(HEAD).and_then(|text| serde_json::from_str(&text).ok());

        let head: Option<Checkpoint> =
            SignedNote::parse(page.proof.checkpoint.as_bytes()).ok().and_then(|note| note.text().parse().ok());
        let consistency = match (seen, &head) {
            (Some(seen), Some(head)) if seen.size != head.size && seen.size > 0 => {
                get_consistency(seen.size.min(head.size), seen.size.max(head.size)).await.ok().flatten()
            }
            _ => None,
        };
        let request = Request { proof: &page.proof, vkey: &vkey, seen, consistency };
        let request = serde_json::to_string(&request).map_err(|e| e.to_string())?;
        let promise = verify(&request).map_err(|e| said(&e))?;
        let answer = JsFuture::from(promise).await.map_err(|e| said(&e))?.as_string().unwrap_or_default();
        let report = match serde_json::from_str(&answer) {
            Ok(Answer::Report(report)) => *report,
            Ok(Answer::Unreadable(why)) => return Err(why),
            Err(e) => return Err(format!("the verifier's answer cannot be read: {e}")),
        };
        let shown = match &report.payload {
            _ if report.signature != Check::Passed => Check::NotDone("what was signed is not known".to_owned()),
            Some(payload) if *payload == page.receipt.payload => Check::Passed,
            Some(_) => Check::Refused("the page shows something else than what was signed".to_owned()),
            None => Check::Refused("what was signed cannot be read".to_owned()),
        };
        // Only what holds is remembered, and only a longer log replaces a shorter one.
        if report.holds()
            && let (Some(storage), Some(head)) = (&storage, &report.checkpoint)
        {
            if pinned_now {
                let _ = storage.set_item(KEY, &vkey);
            }
            if seen.is_none_or(|s| head.size > s.size)
                && let Ok(text) = serde_json::to_string(&Seen { size: head.size, root: head.root })
            {
                let _ = storage.set_item(HEAD, &text);
            }
        }
        Ok(Done { report, pinned_now, vkey, seen: seen.map(|s| s.size), shown })
    }

    fn said(e: &JsValue) -> String {
        let message = js_sys::Reflect::get(e, &JsValue::from_str("message")).ok().and_then(|m| m.as_string());
        message.or_else(|| e.as_string()).unwrap_or_else(|| "the verifier could not be loaded".to_owned())
    }
}
