//! One receipt: what happened in a sentence, its fields, its energy, and whether it holds.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use leptos::{either::Either, prelude::*};
use leptos_meta::Title;
use leptos_router::{components::A, hooks::use_params_map};
use model::Energy;
use projections::{describe, say};

use super::{
    fields::{Fact, facts},
    verify::Verification,
};
use crate::{
    api::reads::{self, get_receipt},
    components::{Ago, Clock, DigestText, Heading, ProblemNote, Settle},
    words,
};

/// The page of one receipt.
#[component]
pub fn ReceiptPage() -> impl IntoView {
    let params = use_params_map();
    let page = Resource::new_blocking(move || params.read().get("index").unwrap_or_default(), get_receipt);
    view! {
        <Transition fallback=|| view! { <p class="wait-note">"Reading the log"</p> }>
            {move || Suspend::new(async move {
                match page.await {
                    Ok(loaded) => view! { <Loaded loaded/> }.settled(),
                    Err(error) => view! { <Title text="Receipt"/><ProblemNote error/> }.settled(),
                }
            })}
        </Transition>
    }
}

#[component]
fn Loaded(loaded: reads::ReceiptPage) -> impl IntoView {
    let said = describe(&loaded.receipt);
    let index = loaded.receipt.index;
    let before = index.checked_sub(1);
    let after = index.checked_add(1).filter(|i| *i < log_size(&loaded));
    let detail = (!said.detail.is_empty()).then_some(said.detail.clone());
    view! {
        <Title text=format!("Receipt {}: {}", say::count(index), said.headline)/>
        <section class="page receipt">
            <div class="crumb">
                <A href="/receipts">"Receipts"</A>
                <span>"/"</span>
                <span>{say::count(index)}</span>
                <span class="asof">
                    {before.map(|i| view! { <a class="door" href=format!("/receipts/{i}")>"← "{say::count(i)}</a> })}
                    " "
                    {after.map(|i| view! { <a class="door" href=format!("/receipts/{i}")>{say::count(i)}" →"</a> })}
                </span>
            </div>
            <Heading>{said.headline}</Heading>
            {detail.map(|d| view! { <p class="lead">{d}</p> })}
            <div class="columns two">
                <div><Fields loaded=loaded.clone()/></div>
                <div><Proofs loaded/></div>
            </div>
        </section>
    }
}

/// What it states: who, when and why, the facts of its kind, its energy, what it follows, and the raw JSON.
#[component]
pub fn Fields(
    /// The receipt.
    loaded: reads::ReceiptPage,
) -> impl IntoView {
    let p = loaded.receipt.payload.clone();
    let release = p.release.clone();
    let reason = p.facts.get("reason").and_then(|r| r.as_str()).filter(|r| !r.is_empty()).map(str::to_owned);
    let raw = raw_json(&loaded);
    view! {
        <dl>
            <dt>"Kind"</dt><dd><code>{p.kind.as_str()}</code></dd>
            <dt>"When"</dt><dd>{say::exact(p.time)}" "<span class="mute"><Ago at=p.time/></span></dd>
            <dt>"Who"</dt><dd><a class="door" href=words::query("/receipts", &[("actor", p.actor.as_str())])>{p.actor.to_string()}</a></dd>
            {reason.map(|r| view! { <dt>"Why"</dt><dd>{r}</dd> })}
            {release.map(|r| view! { <dt>"Release"</dt><dd><A href=format!("/releases/{r}")>{r.to_string()}</A></dd> })}
        </dl>
        <h2>"Facts"</h2>
        <dl>
            {facts(&p).into_iter().filter(|(name, _)| name != "reason").map(|(name, fact)| view! { <dt>{name}</dt><dd><FactText fact/></dd> }).collect_view()}
        </dl>
        <h2>"Energy"</h2>
        {match p.energy.clone() {
            Some(energy) => Either::Left(view! { <EnergyTable energy/> }),
            None => Either::Right(view! { <p class="none">"n/a: this receipt carries no joules."</p> }),
        }}
        <h2>"Follows"</h2>
        {if p.cite.is_empty() {
            Either::Left(view! { <p class="none">"It cites nothing."</p> })
        } else {
            Either::Right(view! { <ul class="cite">{p.cite.iter().cloned().map(|c| view! { <li><Citation text=c/></li> }).collect_view()}</ul> })
        }}
        <details class="raw">
            <summary>"Raw JSON"</summary>
            <pre><code>{raw}</code></pre>
        </details>
    }
}

/// Whether it holds, checked in the browser, and the files to check it elsewhere.
#[component]
pub fn Proofs(
    /// The receipt with its proof.
    loaded: reads::ReceiptPage,
) -> impl IntoView {
    let index = loaded.receipt.index;
    view! {
        <Verification page=loaded/>
        <div class="away">
            <h2>"Take it away"</h2>
            <p class="downloads">
                <a class="button" href=format!("/receipts/{index}/tlog-proof") download=format!("receipt-{index}.tlog-proof") rel="external">".tlog-proof"</a>
                <a class="button" href=format!("/receipts/{index}/dsse") download=format!("receipt-{index}.dsse.json") rel="external">"DSSE envelope"</a>
            </p>
            <p class="mute">"Checked elsewhere, without this server: "<code>{format!("deliveryos receipt verify receipt-{index}.tlog-proof")}</code></p>
        </div>
    }
}

/// Receipts in the log, as its checkpoint says.
fn log_size(page: &reads::ReceiptPage) -> u64 {
    let note = tlog::SignedNote::parse(page.proof.checkpoint.as_bytes()).ok();
    note.and_then(|n| n.text().parse::<tlog::Checkpoint>().ok()).map_or(0, |c| c.size)
}

/// The flat form with its signature, for people: what is checked is the entry.
fn raw_json(page: &reads::ReceiptPage) -> String {
    let entry = STANDARD.decode(&page.proof.entry).unwrap_or_default();
    let signature = receipts::Envelope::parse(&entry).ok().and_then(|e| e.signatures.first().map(|s| s.sig.clone()));
    let signature: Option<[u8; 64]> = signature.and_then(|s| s.as_slice().try_into().ok());
    let flat = match signature {
        Some(signature) => serde_json::to_string_pretty(&receipts::flat_view(&page.receipt.payload, &signature)),
        None => serde_json::to_string_pretty(&page.receipt.payload),
    };
    flat.unwrap_or_default()
}

#[component]
fn FactText(fact: Fact) -> impl IntoView {
    match fact {
        Fact::Text(t) => view! { <span>{t}</span> }.settled(),
        Fact::Digest(digest) => view! { <DigestText digest/> }.settled(),
        Fact::Hash(hash) => view! { <code class="hash">{hash}</code> }.settled(),
        Fact::Time(at) => view! { <Clock at/> }.settled(),
        Fact::Json(json) => view! { <pre class="inline"><code>{json}</code></pre> }.settled(),
    }
}

/// A citation is a link only when it is an address of the web.
#[component]
fn Citation(text: String) -> impl IntoView {
    if text.starts_with("https://") || text.starts_with("http://") {
        Either::Left(view! { <a class="door" href=text.clone() rel="noopener noreferrer external">{text.clone()}</a> })
    } else {
        Either::Right(text)
    }
}

#[component]
fn EnergyTable(energy: Energy) -> impl IntoView {
    view! {
        <dl>
            <dt>"Joules"</dt><dd>{say::energy(&energy)}", between "{say::joules(energy.low)}" and "{say::joules(energy.high)}</dd>
            <dt>"Method"</dt><dd>{say::energy_method(energy.method)}</dd>
            <dt>"Covers"</dt><dd>{energy.scope.clone()}</dd>
            {energy.coefficient.clone().map(|c| view! { <dt>"Coefficients"</dt><dd>{c}</dd> })}
            <dt>"CPU time"</dt><dd>{micros(energy.cpu_time_us)}</dd>
            <dt>"Wall time"</dt><dd>{micros(energy.wall_us)}</dd>
            {energy.idle_joules.map(|j| view! { <dt>"Idle, apart"</dt><dd>{say::joules(j)}</dd> })}
        </dl>
    }
}

fn micros(us: u64) -> String {
    if us < 1_000 {
        format!("{us} µs")
    } else if us < 1_000_000 {
        format!("{:.1} ms", us as f64 / 1e3)
    } else {
        say::duration(i64::try_from(us / 1_000).unwrap_or(i64::MAX))
    }
}
