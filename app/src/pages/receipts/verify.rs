//! "Verified in this browser": the page's own code checks signature, inclusion, checkpoint and consistency, and shows the arithmetic.
//!
//! What it takes to check comes when a receipt is opened. The server's word is never taken: what is checked are bytes, with the key
//! that was kept at the first visit. Against a server that lied from the start only a key from elsewhere
//! helps; the block says so.

use leptos::prelude::*;
use maud::{Markup, html};
use projections::say;
use receipts::{Check, Report};

use crate::{
    api::reads::ReceiptPage,
    components::{room, written},
    verifier::{History, Known},
    words::Tone,
};

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(not(feature = "hydrate"), allow(dead_code, reason = "checked in the browser only"))]
pub(super) enum Outcome {
    /// Under way, or not begun: the browser's code is not there yet.
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
    let (index, vkey) = (page.receipt.index, page.vkey.clone());
    let outcome = RwSignal::new(Outcome::Checking);
    let page = StoredValue::new(page);
    Effect::new(move |_| {
        #[cfg(feature = "hydrate")]
        {
            let page = page.get_value();
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
    let said = written(move || outcome.with(|outcome| outcome_markup(outcome, index, &vkey).into_string()));
    view! {
        <section class="verified" aria-labelledby="verified">
            <h2 id="verified">"Verified in this browser"</h2>
            <div aria-live="polite">{room(said)}</div>
        </section>
    }
}

/// What checks it in a terminal, without this server.
pub(super) fn command(index: u64, vkey: &str) -> String {
    format!("deliveryos receipt verify receipt-{index}.tlog-proof --vkey '{vkey}'")
}

fn outcome_markup(outcome: &Outcome, index: u64, vkey: &str) -> Markup {
    html! {
        @match outcome {
            Outcome::Checking => {
                p.verdict.state.run.woken { "Checking" }
                p.none.unaided { "Not checked here: this needs JavaScript. In a terminal, without this server's word:" }
                pre.unaided { code { (command(index, vkey)) } }
            }
            Outcome::Failed(why) => p.state.unknown { "Could not be checked: " (why) },
            Outcome::Done(done) => (checks(done)),
        }
    }
}

fn checks(done: &Done) -> Markup {
    let (r, history) = (&done.report, &done.history);
    let passed =
        [&r.signature, &r.inclusion, &r.checkpoint_signature, &done.shown].into_iter().all(|c| *c == Check::Passed);
    let (tone, verdict) = match (passed, history.holds()) {
        (true, true) => (Tone::Good, "This receipt holds"),
        (true, false) => (Tone::Bad, "Refused: do not believe this log"),
        (false, _) => (Tone::Bad, "Refused: do not believe this receipt"),
    };
    let head = r.checkpoint.as_ref();
    let size = head.map_or(0, |h| h.size);
    let (history_tone, history_said, history_means) = history.said();
    let consistency = match history_tone {
        Tone::Good => Check::Passed,
        Tone::Bad => Check::Refused(history_said.clone()),
        _ => Check::NotDone(history_said.clone()),
    };
    let trust = if done.known.pinned_now {
        "Key kept now, at the first visit: from here on a changed key or a rewritten log is noticed. Against a server that lied from the start only a key obtained elsewhere protects."
    } else {
        "Checked with the key that this browser kept at its first visit."
    };
    let shown =
        html! { p { "The payload that was signed, read by the verifier, equals the one that the server rendered." } };
    let signature = html! {
        p { "Key id" } code.hash { (r.keyid.as_deref().unwrap_or("none")) }
        p { "Leaf hash, SHA-256 of 0x00 and the entry's bytes" } code.hash { (r.leaf_hash.to_string()) }
    };
    let inclusion = html! {
        ol.steps {
            @for s in &r.inclusion_steps {
                li { (part(side(s.side), &s.sibling)) (part(&leaves(s.first_leaf, s.end_leaf), &s.result)) }
            }
        }
        p { "Each step: SHA-256 of 0x01, the left and the right half. The last one is the root in the checkpoint" }
        code.hash { @if let Some(head) = head { (head.root.to_string()) } }
    };
    let checkpoint = html! {
        p { "Origin " code { @if let Some(head) = head { (head.origin) } } ", size " (say::count(size)) }
        p { "Key" } code.hash { (done.known.vkey) }
    };
    let steps = html! {
        ol.steps {
            @for s in &r.consistency_steps {
                li { (part(side(s.side), &s.sibling)) (part("then", &s.old)) (part("now", &s.new)) }
            }
        }
        p { (history_means) }
        p { "Each step: SHA-256 of 0x01, the left and the right half, for the log then and the log now. The last ones are their roots." }
    };
    let place = format!("at its place in the log of {}", say::plural(size, "receipt", "receipts"));
    html! {
        p class={ "verdict state " (tone.class()) } { (verdict) }
        @if !history.holds() { div.note.bad role="alert" { p { b { (history_said) "." } } p { (history_means) } } }
        (check_line("Shown", &done.shown, "what the page shows is what was signed", &shown))
        (check_line("Signature", &r.signature, "signed by the log's key, Ed25519 over the DSSE encoding", &signature))
        (check_line("Inclusion", &r.inclusion, &place, &inclusion))
        (check_line("Checkpoint", &r.checkpoint_signature, "the log's head is signed by the same key", &checkpoint))
        (check_line("Consistency", &consistency, &history_said, &steps))
        p.mute.trust { (trust) }
    }
}

fn part(said: &str, hash: &tlog::Hash) -> Markup {
    html! { span.part { (said) " " code.hash { (hash.to_string()) } } }
}

/// A check: passed, refused with its reason, or not done with its reason; opens to the bytes.
fn check_line(name: &str, check: &Check, said: &str, bytes: &Markup) -> Markup {
    let (tone, said) = match check {
        Check::Passed => (Tone::Good, said),
        Check::Refused(why) => (Tone::Bad, why.as_str()),
        Check::NotDone(why) => (Tone::Unknown, why.as_str()),
    };
    html! {
        details.check {
            summary { span class={ "state " (tone.class()) } { b { (name) } } " " span.mute { (said) } }
            div.bytes { (bytes) }
        }
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
    let asked = known.ask(&page.proof.checkpoint, page.history.as_ref()).await;
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
