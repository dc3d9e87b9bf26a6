//! Many receipts checked one after the other, and what came of it in markup. Its code comes at the first press (`crate::parts`).

use std::rc::Rc;

use maud::html;
use model::{Kind, event::ReleaseCompleted};
use projections::{Receipt, say};
use receipts::Check;

use super::{Checked, Consistency, Found, History, Keeper, Progress, check, closes, pause, refused};
use crate::{
    api::reads::{MAX_PROOFS, get_proofs},
    words::Tone,
};

/// What is to be checked, and where it is told how far that is.
pub(crate) struct Run {
    /// In the order of the log.
    pub(crate) receipts: Vec<Receipt>,
    /// What was checked before.
    pub(crate) before: Checked,
    /// Gets how far it is.
    pub(crate) told: Rc<dyn Fn(Progress)>,
}

impl Run {
    /// Begins.
    pub(crate) fn start(self) {
        leptos::task::spawn_local(run(self));
    }
}

async fn run(Run { receipts, before, told }: Run) {
    let result = match checked(&receipts, before, &*told).await {
        Ok(checked) => Progress::Done(Box::new(Found { markup: in_words(&checked), checked })),
        Err(why) => Progress::Failed(why),
    };
    told(result);
}

/// Fetches what is not checked yet in a few answers, and checks one after the other with rests, so that the page stays alive.
async fn checked(all: &[Receipt], mut out: Checked, told: &dyn Fn(Progress)) -> Result<Checked, String> {
    /// Receipts between two rests: each takes about a millisecond.
    const AT_ONCE: usize = 8;
    let keeper = Keeper::new();
    let todo: Vec<&Receipt> = all.iter().filter(|r| !out.leaves.contains_key(&r.index)).collect();
    let of = todo.len();
    let mut done = 0;
    for some in todo.chunks(MAX_PROOFS) {
        told(Progress::Running { done, of });
        let indices: Vec<String> = some.iter().map(|r| r.index.to_string()).collect();
        let page = get_proofs(indices.join(",")).await.map_err(|e| e.to_string())?;
        let known = keeper.known(&page.vkey);
        let mut asked: Option<(String, Consistency)> = None;
        for (receipt, proof) in some.iter().zip(&page.proofs) {
            if proof.index != receipt.index {
                return Err(format!("the server answered with receipt {} instead of {}", proof.index, receipt.index));
            }
            // One question for each checkpoint: usually there is one for all.
            let consistency = match asked.take() {
                Some((of, answer)) if of == proof.checkpoint => answer,
                _ => known.ask(&proof.checkpoint, None).await,
            };
            let report = check(proof, &known, &consistency).await?;
            let history = History::of(&report.consistency, report.checkpoint.as_ref(), known.seen, &consistency);
            if let Some(why) = refused(&report, receipt) {
                out.refused.push((receipt.index, why));
            }
            out.leaves.insert(receipt.index, report.leaf_hash);
            out.size = out.size.max(report.checkpoint.as_ref().map_or(0, |h| h.size));
            out.pinned_now |= known.pinned_now;
            if report.holds()
                && let Some(head) = &report.checkpoint
                && done + 1 == of
            {
                keeper.remember(&known, head, &history);
            }
            // The worst that was found stays.
            if out.history.as_ref().is_none_or(History::holds) {
                out.history = Some(history);
            }
            asked = Some((proof.checkpoint.clone(), consistency));
            done += 1;
            if done % AT_ONCE == 0 {
                told(Progress::Running { done, of });
                pause().await;
            }
        }
        if page.proofs.len() != some.len() {
            return Err("the server answered with fewer receipts than were asked for".to_owned());
        }
    }
    let closing = all.iter().rev().find(|r| r.payload.kind == Kind::ReleaseCompleted);
    out.closing = closing.and_then(|r| {
        let facts: ReleaseCompleted = r.payload.facts().ok()?;
        Some((r.index, closes(&facts, &out.leaves)))
    });
    Ok(out)
}

/// What was checked here, and what is the server's word.
fn in_words(checked: &Checked) -> String {
    let (tone, said, means) = checked.history.as_ref().map_or((Tone::Unknown, String::new(), ""), History::said);
    let closing = checked.closing.as_ref().map(|(at, check)| {
        let (tone, said) = match check {
            Check::Passed => (
                Tone::Good,
                " covers exactly these: the root that it states was computed again from their hashes".to_owned(),
            ),
            Check::Refused(why) => (Tone::Bad, format!(": {why}")),
            Check::NotDone(why) => (Tone::Unknown, format!(": {why}")),
        };
        (at, tone, said)
    });
    let kept = if checked.pinned_now { "keeps from now on" } else { "kept at its first visit" };
    html! {
        @if tone == Tone::Bad {
            div.note.bad role="alert" { p { b { (said) "." } } p { (means) } }
        }
        @if !checked.refused.is_empty() {
            ul.refused role="alert" {
                @for (i, why) in &checked.refused {
                    li { a.door.state.bad href={ "/receipts/" (i) } { "receipt " (say::count(*i)) } " " (why) }
                }
            }
        }
        details.where {
            summary { "What was checked here, and what is the server's word" }
            div.two {
                div {
                    h3 { "In this browser" }
                    ul {
                        li { "each is signed by the key that this browser " (kept) }
                        li { "each stands at its place in the log of " (say::plural(checked.size, "receipt", "receipts")) ", whose head is signed by the same key" }
                        li { "the page shows what was signed" }
                        li { span class={ "state " (tone.class()) } { (said) } }
                        @if let Some((at, tone, said)) = &closing {
                            li {
                                span class={ "state " (tone.class()) } {
                                    "the " a.door href={ "/receipts/" (at) } { "closing receipt " (say::count(**at)) } (said)
                                }
                            }
                        }
                    }
                }
                div {
                    h3 { "The server's word" }
                    ul {
                        li { "the lines and points of the timeline: seconds that were counted are not receipts; each verdict's receipt names the digest of the ones that it was reached with" }
                        li { "that what a receipt states happened as it says" }
                        @if closing.is_none() {
                            li { "that no receipt was left out: a release that is under way has no closing receipt yet" }
                        }
                    }
                }
            }
        }
    }
    .into_string()
}
