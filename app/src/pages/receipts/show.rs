//! One receipt: what happened in a sentence, its fields, its energy, and whether it holds.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use leptos::prelude::*;
use leptos_meta::Title;
use leptos_router::hooks::use_params_map;
use maud::{Markup, html};
use model::{Energy, Timestamp};
use projections::{describe, reason, say};

use super::{
    fields::{Fact, facts},
    verify::Verification,
};
use crate::{
    api::{
        page::{self, asked_for},
        reads::{self, get_receipt},
    },
    components::{Heading, ProblemNote, Settle, ago, awaited, clock, copy_pressed, digest, shown},
    live::use_live,
    verifier::seen_size,
    words,
};

/// The page of one receipt.
#[component]
pub fn ReceiptPage() -> impl IntoView {
    let params = use_params_map();
    let page =
        asked_for(move || params.read().get("index").unwrap_or_default(), |index| get_receipt(index, seen_size()));
    awaited(move || {
        Box::pin(async move {
            match page.await.and_then(|text| page::read(&text)) {
                Ok(loaded) => view! { <Loaded loaded/> }.settled(),
                Err(error) => view! { <Title text="Receipt"/><ProblemNote error/> }.settled(),
            }
        })
    })
}

#[component]
fn Loaded(loaded: reads::ReceiptPage) -> impl IntoView {
    let said = describe(&loaded.receipt);
    let index = loaded.receipt.index;
    let before = index.checked_sub(1);
    let after = index.checked_add(1).filter(|i| *i < log_size(&loaded));
    let detail = (!said.detail.is_empty()).then_some(said.detail.clone());
    let crumb = html! {
        div.crumb {
            a href="/receipts" { "Receipts" }
            span { "/" }
            span { (say::count(index)) }
            span.asof {
                @if let Some(i) = before { a.door href={ "/receipts/" (i) } { "← " (say::count(i)) } }
                " "
                @if let Some(i) = after { a.door href={ "/receipts/" (i) } { (say::count(i)) " →" } }
            }
        }
    };
    view! {
        <Title text=format!("Receipt {}: {}", say::count(index), said.headline)/>
        <section class="page receipt" on:click=|e| { copy_pressed(&e); }>
            {shown(crumb)}
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
    shown(fields(&loaded, use_live().now.get_untracked()))
}

fn fields(loaded: &reads::ReceiptPage, now: Timestamp) -> Markup {
    let p = &loaded.receipt.payload;
    let stated = p.facts.get("reason").and_then(|r| r.as_str());
    let reason = reason(p);
    html! {
        dl {
            dt { "Kind" } dd { code { (p.kind.as_str()) } }
            dt { "When" } dd { (say::exact(p.time)) " " span.mute { (ago(p.time, now)) } }
            dt { "Who" } dd { a.door href=(words::query("/receipts", &[("actor", p.actor.as_str())])) { (p.actor) } }
            @if stated.is_some() {
                dt { "Why" }
                dd {
                    @match reason.as_deref() {
                        Some("step") => "a step of its recipe",
                        Some(reason) => (reason),
                        None => span.mute { "no reason given" },
                    }
                }
            }
            @if let Some(release) = &p.release { dt { "Release" } dd { a href={ "/releases/" (release) } { (release) } } }
        }
        h2 { "Facts" }
        dl {
            @for (name, fact) in facts(p) {
                // Where the sentence above is not what was signed, that stands here.
                @if name != "reason" || stated.is_some_and(|s| !s.is_empty() && reason.as_deref() != Some(s)) {
                    dt { (name) }
                    dd { (fact_text(&fact)) }
                }
            }
        }
        h2 { "Energy" }
        @match &p.energy {
            Some(energy) => (energy_table(energy)),
            None => p.none { "n/a: this receipt carries no joules." },
        }
        h2 { "Follows" }
        @if p.cite.is_empty() {
            p.none { "It cites nothing." }
        } @else {
            ul.cite { @for cited in &p.cite { li { (citation(cited)) } } }
        }
        details.raw {
            summary { "Raw JSON" }
            pre { code { (raw_json(loaded)) } }
        }
    }
}

/// Whether it holds, checked in the browser, and the files to check it elsewhere.
#[component]
pub fn Proofs(
    /// The receipt with its proof.
    loaded: reads::ReceiptPage,
) -> impl IntoView {
    let index = loaded.receipt.index;
    let command = super::verify::command(index, &loaded.vkey);
    view! {
        <Verification page=loaded/>
        <div class="away">
            <h2>"Take it away"</h2>
            <p class="downloads">
                <a class="button" href=format!("/receipts/{index}/tlog-proof") download=format!("receipt-{index}.tlog-proof") rel="external">".tlog-proof"</a>
                <a class="button" href=format!("/receipts/{index}/dsse") download=format!("receipt-{index}.dsse.json") rel="external">"DSSE envelope"</a>
            </p>
            <p class="mute">"Checked elsewhere, without this server: "<code>{command}</code>". The key in it is the one that this server states: put in the one that you have from elsewhere, if you have one."</p>
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

fn fact_text(fact: &Fact) -> Markup {
    html! {
        @match fact {
            Fact::Text(text) => span { (text) },
            Fact::Digest(of) => (digest(of)),
            Fact::Hash(hash) => code.hash { (hash) },
            Fact::Time(at) => (clock(*at)),
            Fact::List(all) => dl { @for (name, fact) in all { dt { (name) } dd { (fact_text(fact)) } } },
            Fact::Table(heads, rows) => div.wide tabindex="0" {
                table {
                    thead { tr { @for head in heads { th { (head) } } } }
                    tbody { @for row in rows { tr { @for cell in row { td.w { (fact_text(cell)) } } } } }
                }
            },
            Fact::Json(json) => details { summary { "JSON" } pre.inline { code { (json) } } },
        }
    }
}

/// A citation is a link only when it is an address of the web.
fn citation(text: &str) -> Markup {
    if text.starts_with("https://") || text.starts_with("http://") {
        html! { a.door href=(text) rel="noopener noreferrer external" { (text) } }
    } else {
        html! { (text) }
    }
}

fn energy_table(energy: &Energy) -> Markup {
    html! {
        dl {
            dt { "Joules" } dd { (say::energy(energy)) ", between " (say::joules(energy.low)) " and " (say::joules(energy.high)) }
            dt { "Method" } dd { (say::energy_method(energy.method)) }
            dt { "Covers" } dd { (energy.scope) }
            @if let Some(c) = &energy.coefficient { dt { "Coefficients" } dd { (c) } }
            dt { "CPU time" } dd { (micros(energy.cpu_time_us)) }
            dt { "Wall time" } dd { (micros(energy.wall_us)) }
            @if let Some(j) = energy.idle_joules { dt { "Idle, apart" } dd { (say::joules(j)) } }
        }
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
