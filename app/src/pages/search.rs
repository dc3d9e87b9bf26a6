//! The search as a page: what `/` opens in place, as a form that needs no script.

use leptos::prelude::*;
use leptos_meta::Title;
use leptos_router::hooks::use_query_map;
use maud::{Markup, html};
use model::Timestamp;
use projections::say;

use super::releases::release_table;
use crate::{
    api::{
        find::{Found, get_found},
        lists::ReleasesAsked,
        page::asked_for,
    },
    components::{Heading, read_line, shown},
    live::use_live,
    places, words,
};

/// Search.
#[component]
pub fn SearchPage() -> impl IntoView {
    let query = use_query_map();
    let asked = Memo::new(move |_| query.read().get("q").unwrap_or_default());
    let page = asked_for(move || asked.get(), get_found);
    view! {
        <Title text="Search"/>
        <section class="page search">
            <Heading>"Search"</Heading>
            {move || shown(form(&asked.get()))}
            {read_line(page, move |found| {
                shown(results(&found, &asked.get_untracked(), use_live().now.get_untracked()))
            })}
        </section>
    }
}

fn form(q: &str) -> Markup {
    html! {
        form.filters method="get" action="/search" role="search" {
            label { "Find " input.find type="search" name="q" value=(q) autocomplete="off" maxlength="500"; }
            button type="submit" { "Search" }
            span.mute { "words of a release, the beginning of a digest, the number of a receipt, somebody's name, the name of a page" }
        }
    }
}

fn results(found: &Found, q: &str, now: Timestamp) -> Markup {
    let Found { receipt, actor, releases, of } = found;
    let pages = if q.trim().is_empty() { Vec::new() } else { places::matching(q) };
    let nothing =
        !q.trim().is_empty() && receipt.is_none() && actor.is_none() && releases.is_empty() && pages.is_empty();
    html! {
        @if nothing { p.none { "Nothing and nobody is called so, and no digest begins so." } }
        @if !pages.is_empty() {
            section aria-labelledby="found-pages" {
                h2 #found-pages { "Pages" }
                ul.plain-list { @for place in pages { li { a.door href=(place.href) { (place.name) } } } }
            }
        }
        @if let Some(receipt) = receipt {
            section aria-labelledby="found-receipt" {
                h2 #found-receipt { "Receipt" }
                p {
                    a.door href={ "/receipts/" (receipt.index) } { (say::count(receipt.index)) }
                    " " span.mute { (words::kind_name(receipt.kind)) } " " (receipt.said)
                }
            }
        }
        @if let Some(actor) = actor {
            section aria-labelledby="found-actor" {
                h2 #found-actor { "Somebody" }
                p {
                    (actor) ": "
                    a.door href=(words::query("/receipts", &[("actor", actor)])) { "receipts" } ", "
                    a.door href=(words::query("/releases", &[("actor", actor)])) { "releases started" }
                }
            }
        }
        @if !releases.is_empty() {
            section aria-labelledby="found-releases" {
                h2 #found-releases {
                    "Releases "
                    span {
                        (say::count(*of))
                        @if *of > releases.len() as u64 {
                            " · " a.door href=(ReleasesAsked { q: q.to_owned(), ..ReleasesAsked::default() }.href()) { "all" }
                        }
                    }
                }
                (release_table(releases, None, now))
            }
        }
    }
}
