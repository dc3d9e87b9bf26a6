//! The search as a page: what `/` opens in place, as a form that needs no script.

use leptos::prelude::*;
use leptos_meta::Title;
use leptos_router::hooks::use_query_map;
use projections::say;

use super::releases::ReleaseTable;
use crate::{
    api::{
        find::{Found, get_found},
        lists::ReleasesAsked,
    },
    components::{Heading, ProblemLine, Settle},
    places, words,
};

/// Search.
#[component]
pub fn SearchPage() -> impl IntoView {
    let query = use_query_map();
    let asked = Memo::new(move |_| query.read().get("q").unwrap_or_default());
    let page = Resource::new_blocking(move || asked.get(), get_found);
    view! {
        <Title text="Search"/>
        <section class="page search">
            <Heading>"Search"</Heading>
            <form class="filters" method="get" action="/search" role="search">
                <label>"Find "
                    <input class="find" type="search" name="q" value=move || asked.get() autocomplete="off" maxlength="500"/>
                </label>
                <button type="submit">"Search"</button>
                <span class="mute">"words of a release, the beginning of a digest, the number of a receipt, the name of a page"</span>
            </form>
            <Transition fallback=|| view! { <p class="wait-note">"Searching"</p> }>
                {move || Suspend::new(async move {
                    match page.await {
                        Ok(found) => view! { <Results found q=asked.get_untracked()/> }.settled(),
                        Err(error) => view! { <ProblemLine error/> }.settled(),
                    }
                })}
            </Transition>
        </section>
    }
}

#[component]
fn Results(found: Found, q: String) -> impl IntoView {
    let Found { receipt, releases, of } = found;
    let pages = if q.trim().is_empty() { Vec::new() } else { places::matching(&q) };
    let nothing = !q.trim().is_empty() && receipt.is_none() && releases.is_empty() && pages.is_empty();
    let shown = releases.len() as u64;
    let all = (of > shown).then(|| {
        let href = ReleasesAsked { q: q.clone(), ..ReleasesAsked::default() }.href();
        view! { " · "<a class="door" href=href>"all"</a> }
    });
    view! {
        {nothing.then(|| view! { <p class="none">"Nothing is called so, and no digest begins so."</p> })}
        {(!pages.is_empty()).then(|| view! {
            <section aria-labelledby="found-pages">
                <h2 id="found-pages">"Pages"</h2>
                <ul class="plain-list">{pages.into_iter().map(|place| view! { <li><a class="door" href=place.href>{place.name}</a></li> }).collect_view()}</ul>
            </section>
        })}
        {receipt.map(|receipt| view! {
            <section aria-labelledby="found-receipt">
                <h2 id="found-receipt">"Receipt"</h2>
                <p><a class="door" href=format!("/receipts/{}", receipt.index)>{say::count(receipt.index)}</a>" "<span class="mute">{words::kind_name(receipt.kind)}</span>" "{receipt.said}</p>
            </section>
        })}
        {(shown > 0).then(|| view! {
            <section aria-labelledby="found-releases">
                <h2 id="found-releases">"Releases " <span>{say::count(of)}{all}</span></h2>
                <ReleaseTable rows=Signal::stored(releases)/>
            </section>
        })}
    }
}
