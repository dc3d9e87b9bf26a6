//! "Verified in this browser": the page's own code checks signature, inclusion, checkpoint and consistency, and shows the arithmetic.
//!
//! The verifier is a module of its own, loaded when a receipt is opened. It never takes the server's word: what it is given are
//! bytes, and the key that was kept at the first visit. Against a server that lied from the start only a key from elsewhere
//! helps; the block says so.

use leptos::prelude::*;
use projections::say;
use receipts::{Check, Report};

use crate::components::Settle;
use crate::{
    api::reads::ReceiptPage,
    verifier::{History, Known},
    words::Tone,
};

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
    /// What this browser knew before.
    known: Known,
    /// How the log belongs to the one seen before.
    history: History,
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
        {
            let page = page.get_value();
            outcome.set(Outcome::Checking);
            leptos::task::spawn_local(async move {
                let result = match checked(&page).await {
                    Ok(done) => Outcome::Done(Box::new(done)),
                    Err(why) => Outcome::Failed(why),
                };
                let _ = outcome.try_set(result);
            });
        }
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
                    }.settled(),
                    Outcome::Checking => view! { <p class="state run">"Checking"</p> }.settled(),
                    Outcome::Failed(why) => view! { <p class="state unknown">"Could not be checked: "{why}</p> }.settled(),
                    Outcome::Done(done) => view! { <Checks done=*done/> }.settled(),
                }}
            </div>
        </section>
    }
}

#[component]
fn Checks(done: Done) -> impl IntoView {
    let r = done.report;
    let passed =
        [&r.signature, &r.inclusion, &r.checkpoint_signature, &done.shown].into_iter().all(|c| *c == Check::Passed);
    let history = done.history;
    let (tone, verdict) = match (passed, history.holds()) {
        (true, true) => (Tone::Good, "This receipt holds"),
        (true, false) => (Tone::Bad, "Refused: do not believe this log"),
        (false, _) => (Tone::Bad, "Refused: do not believe this receipt"),
    };
    let head = r.checkpoint.clone();
    let size = head.as_ref().map_or(0, |h| h.size);
    let root = head.as_ref().map(|h| h.root.to_string());
    let origin = head.as_ref().map(|h| h.origin.clone());
    let (history_tone, history_said, history_means) = history.said();
    let consistency = match history_tone {
        Tone::Good => Check::Passed,
        Tone::Bad => Check::Refused(history_said.clone()),
        _ => Check::NotDone(history_said.clone()),
    };
    let alarm = (!history.holds()).then(|| view! { <div class="note bad" role="alert"><p><b>{history_said.clone()}"."</b></p><p>{history_means}</p></div> });
    let trust = if done.known.pinned_now {
        "Key kept now, at the first visit: from here on a changed key or a rewritten log is noticed. Against a server that lied from the start only a key obtained elsewhere protects."
    } else {
        "Checked with the key that this browser kept at its first visit."
    };
    view! {
        <p class=format!("verdict state {}", tone.class())>{verdict}</p>
        {alarm}
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
            <p>"Key"</p><code class="hash">{done.known.vkey}</code>
        </CheckLine>
        <CheckLine name="Consistency" check=consistency said=history_said>
            <ol class="steps">
                {r.consistency_steps.iter().map(|s| view! {
                    <li>
                        <span class="part">{side(s.side)}" "<code class="hash">{s.sibling.to_string()}</code></span>
                        <span class="part">"then "<code class="hash">{s.old.to_string()}</code></span>
                        <span class="part">"now "<code class="hash">{s.new.to_string()}</code></span>
                    </li>
                }).collect_view()}
            </ol>
            <p>{history_means}</p>
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
async fn checked(page: &ReceiptPage) -> Result<Done, String> {
    use crate::verifier::{Keeper, check, shown};
    let keeper = Keeper::new();
    let known = keeper.known(&page.vkey);
    let asked = known.ask(&page.proof.checkpoint).await;
    let report = check(&page.proof, &known, &asked).await?;
    let history = History::of(&report.consistency, report.checkpoint.as_ref(), known.seen, &asked);
    let shown = shown(&report, &page.receipt);
    if report.holds()
        && let Some(head) = &report.checkpoint
    {
        keeper.remember(&known, head, &history);
    }
    Ok(Done { report, known, history, shown })
}
