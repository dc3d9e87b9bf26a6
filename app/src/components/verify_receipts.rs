//! Many receipts checked in the browser: a whole release, or a range of the log.

use std::collections::BTreeMap;

use leptos::{either::Either, prelude::*};
use projections::{Receipt, say};
use receipts::Check;
use tlog::Hash;

use super::Settle;
use crate::{live::use_live, verifier::History, words::Tone};

/// How far it is.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(not(feature = "hydrate"), allow(dead_code, reason = "checked in the browser only"))]
enum Progress {
    Idle,
    Running { done: usize, of: usize },
    Failed(String),
    Done(Box<Checked>),
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Default)]
struct Checked {
    /// Leaf hashes of all that were checked.
    leaves: BTreeMap<u64, Hash>,
    /// What does not hold, by index.
    refused: Vec<(u64, String)>,
    /// How the log belongs to the one seen before; `None` until the first is checked.
    history: Option<History>,
    /// Size of the log whose checkpoint they were held against.
    size: u64,
    /// Whether the receipt that closes the release covers exactly these.
    closing: Option<(u64, Check)>,
    pinned_now: bool,
}

impl Checked {
    fn holds(&self) -> bool {
        self.refused.is_empty()
            && self.history.as_ref().is_none_or(History::holds)
            && !matches!(self.closing, Some((_, Check::Refused(_))))
    }
}

/// One line that says what was checked in this browser, a button that checks the rest, and below it where what was checked.
#[component]
pub fn VerifyReceipts(
    /// In the order of the log.
    #[prop(into)]
    receipts: Signal<Vec<Receipt>>,
    /// What they are: `of this release`.
    of: &'static str,
) -> impl IntoView {
    let awake = use_live().awake;
    let progress = RwSignal::new(Progress::Idle);
    let left = Memo::new(move |_| {
        progress.with(|p| match p {
            Progress::Done(c) => receipts.with(|all| all.iter().filter(|r| !c.leaves.contains_key(&r.index)).count()),
            _ => receipts.with(Vec::len),
        })
    });
    let start = move |_| {
        #[cfg(feature = "hydrate")]
        leptos::task::spawn_local(run(receipts.get_untracked(), progress));
    };
    let button = move || {
        let name = move || match progress.with(|p| matches!(p, Progress::Done(_))) {
            false => format!("Check all {} here", left.get()),
            true => format!("Check {} more", left.get()),
        };
        let running = move || progress.with(|p| matches!(p, Progress::Running { .. }));
        view! {
            <Show when=move || awake.get() && (left.get() > 0)>
                <button type="button" class="small" on:click=start disabled=running>{name}</button>
            </Show>
        }
    };
    view! {
        <div class="verify">
            <p class="verify-line" role="status">
                {move || progress.with(|p| match p {
                    Progress::Idle if awake.get() => view! { <span class="state unknown">"not checked in this browser yet"</span> }.settled(),
                    Progress::Idle => view! { <span class="state unknown">"not checked here: this needs the page's own code, which is not running"</span> }.settled(),
                    Progress::Running { done, of } => view! {
                        <span class="state run">"checking "{say::count(*done as u64)}" of "{say::count(*of as u64)}</span>
                        <progress max=of.to_string() value=done.to_string() aria-label="Receipts checked"></progress>
                    }.settled(),
                    Progress::Failed(why) => view! { <span class="state unknown">"could not be checked: "{why.clone()}</span> }.settled(),
                    Progress::Done(c) => {
                        let n = say::plural(c.leaves.len() as u64, "receipt", "receipts");
                        if c.holds() {
                            view! { <span class="state ok">{n}" "{of}" checked in this browser, all hold"</span> }.settled()
                        } else {
                            view! { <span class="state bad">{n}" "{of}" checked in this browser: do not believe all of it"</span> }.settled()
                        }
                    }
                })}
                {button()}
            </p>
            {move || progress.with(|p| match p {
                Progress::Done(c) => Either::Left(view! { <Where checked=(**c).clone()/> }),
                _ => Either::Right(()),
            })}
        </div>
    }
}

/// What was checked here, and what is the server's word.
#[component]
fn Where(checked: Checked) -> impl IntoView {
    let (tone, said, means) = checked.history.as_ref().map_or((Tone::Unknown, String::new(), ""), History::said);
    let alarm = tone == Tone::Bad;
    let refused = checked.refused.clone();
    let closing = checked.closing.clone().map(|(at, check)| {
        let link = view! { <a class="door" href=format!("/receipts/{at}")>"closing receipt "{say::count(at)}</a> };
        let (tone, said) = match check {
            Check::Passed => (
                Tone::Good,
                " covers exactly these: the root that it states was computed again from their hashes".to_owned(),
            ),
            Check::Refused(why) => (Tone::Bad, format!(": {why}")),
            Check::NotDone(why) => (Tone::Unknown, format!(": {why}")),
        };
        view! { <li><span class=format!("state {}", tone.class())>"the "{link}{said}</span></li> }
    });
    let open_end = closing.is_none().then(
        || view! { <li>"that no receipt was left out: a release that is under way has no closing receipt yet"</li> },
    );
    view! {
        {alarm.then(|| view! { <div class="note bad" role="alert"><p><b>{said.clone()}"."</b></p><p>{means}</p></div> })}
        {(!refused.is_empty()).then(|| view! {
            <ul class="refused" role="alert">
                {refused.into_iter().map(|(i, why)| view! { <li><a class="door state bad" href=format!("/receipts/{i}")>"receipt "{say::count(i)}</a>" "{why}</li> }).collect_view()}
            </ul>
        })}
        <details class="where">
            <summary>"What was checked here, and what is the server's word"</summary>
            <div class="two">
                <div>
                    <h3>"In this browser"</h3>
                    <ul>
                        <li>"each is signed by the key that this browser "{if checked.pinned_now { "keeps from now on" } else { "kept at its first visit" }}</li>
                        <li>"each stands at its place in the log of "{say::plural(checked.size, "receipt", "receipts")}", whose head is signed by the same key"</li>
                        <li>"the page shows what was signed"</li>
                        <li><span class=format!("state {}", tone.class())>{said}</span></li>
                        {closing}
                    </ul>
                </div>
                <div>
                    <h3>"The server's word"</h3>
                    <ul>
                        <li>"the lines and points of the timeline: seconds that were counted are not receipts; each verdict's receipt names the digest of the ones that it was reached with"</li>
                        <li>"that what a receipt states happened as it says"</li>
                        {open_end}
                    </ul>
                </div>
            </div>
        </details>
    }
}

#[cfg(feature = "hydrate")]
async fn run(receipts: Vec<Receipt>, progress: RwSignal<Progress>) {
    let before = match progress.get_untracked() {
        Progress::Running { .. } => return,
        Progress::Done(checked) => *checked,
        _ => Checked::default(),
    };
    let result = match checked(&receipts, before, progress).await {
        Ok(checked) => Progress::Done(Box::new(checked)),
        Err(why) => Progress::Failed(why),
    };
    let _ = progress.try_set(result);
}

/// Fetches what is not checked yet in a few answers, and checks one after the other with rests, so that the page stays alive.
#[cfg(feature = "hydrate")]
async fn checked(all: &[Receipt], mut out: Checked, progress: RwSignal<Progress>) -> Result<Checked, String> {
    use model::{Kind, event::ReleaseCompleted};

    use crate::{
        api::reads::{MAX_PROOFS, get_proofs},
        verifier::{Consistency, Keeper, check, closes, pause, refused},
    };
    /// Receipts between two rests: each takes about a millisecond.
    const AT_ONCE: usize = 8;
    let keeper = Keeper::new();
    let todo: Vec<&Receipt> = all.iter().filter(|r| !out.leaves.contains_key(&r.index)).collect();
    let of = todo.len();
    let mut done = 0;
    for some in todo.chunks(MAX_PROOFS) {
        let _ = progress.try_set(Progress::Running { done, of });
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
                _ => known.ask(&proof.checkpoint).await,
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
                let _ = progress.try_set(Progress::Running { done, of });
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
