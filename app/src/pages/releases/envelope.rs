//! The rollback envelope: what happens if it goes wrong, or what was done.

use leptos::{either::Either, prelude::*};
use model::{Kind, event::RollbackExecuted};
use projections::{ReleaseView, say};

use crate::components::DigestText;

/// The card.
#[component]
pub fn EnvelopeCard(
    /// The release.
    view: RwSignal<ReleaseView>,
) -> impl IntoView {
    let armed = Memo::new(move |_| view.with(|v| v.envelope.clone()));
    let acts = Memo::new(move |_| {
        view.with(|v| {
            let done = v.receipts.iter().filter(|r| r.payload.kind == Kind::RollbackExecuted);
            done.filter_map(|r| Some((r.index, r.payload.facts::<RollbackExecuted>().ok()?))).collect::<Vec<_>>()
        })
    });
    view! {
        <section aria-labelledby="envelope" class="envelope">
            <h2 id="envelope">"If it goes wrong " <span>{move || armed.with(|a| match a {
                Some((index, _)) => Either::Left(view! { <a class="door" href=format!("/receipts/{index}")>"armed, receipt "{say::count(*index)}</a> }),
                None => Either::Right("not armed"),
            })}</span></h2>
            {move || armed.get().map_or_else(
                || Either::Right(view! { <p class="none">"No rollback envelope is signed yet. Without it this release never gets 100 %."</p> }),
                |(_, e)| Either::Left(view! {
                    <dl>
                        <dt>"Traffic"</dt><dd>"to 0 % at once"</dd>
                        <dt>"Back to"</dt><dd>{e.previous_version.to_string()}" "<DigestText digest=e.previous_image/></dd>
                        <dt>"Migration"</dt><dd>{e.down_migration}</dd>
                        <dt>"Flags off"</dt><dd>{if e.flags_off.is_empty() { "none".to_owned() } else { e.flags_off.join(", ") }}</dd>
                        <dt>"In order"</dt><dd>{e.acts.join(", ")}</dd>
                        <dt>"Promised"</dt><dd>"recovered within "{say::duration(i64::from(e.rto_s) * 1000)}</dd>
                    </dl>
                }),
            )}
            {move || {
                let acts = acts.get();
                (!acts.is_empty()).then(|| view! {
                    <h3>"Carried out"</h3>
                    <ol class="acts">
                        {acts.into_iter().map(|(index, a)| view! {
                            <li><a class="door" href=format!("/receipts/{index}")><b>{a.act}</b></a>" "{a.result}" "<span class="mute">{say::duration(a.took_ms)}</span></li>
                        }).collect_view()}
                    </ol>
                })
            }}
        </section>
    }
}
