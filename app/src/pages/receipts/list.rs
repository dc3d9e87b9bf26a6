//! The log, newest first, filtered by the address.

use leptos::{either::Either, prelude::*};
use leptos_meta::Title;
use leptos_router::hooks::use_query_map;
use model::Kind;
use projections::{Receipt, describe, say};

use crate::{
    api::reads::{self, get_receipts},
    components::{Ago, Heading, ProblemNote},
    words,
};

/// What the address asks for.
#[derive(Debug, Clone, PartialEq, Default)]
struct Asked {
    release: String,
    kind: String,
    actor: String,
    before: String,
}

impl Asked {
    fn href(&self, before: &str) -> String {
        words::query(
            "/receipts",
            &[("release", &self.release), ("kind", &self.kind), ("actor", &self.actor), ("before", before)],
        )
    }
}

/// The explorer.
#[component]
pub fn ReceiptsPage() -> impl IntoView {
    let query = use_query_map();
    let asked = Memo::new(move |_| {
        let q = query.read();
        let get = |name| q.get(name).unwrap_or_default();
        Asked { release: get("release"), kind: get("kind"), actor: get("actor"), before: get("before") }
    });
    let page = Resource::new_blocking(move || asked.get(), |a| get_receipts(a.release, a.kind, a.actor, a.before));
    view! {
        <Title text="Receipts"/>
        <section class="page">
            <Heading>"Receipts"</Heading>
            {move || view! { <Filters asked=asked.get()/> }}
            <Transition fallback=|| view! { <p class="wait-note">"Reading the log"</p> }>
                {move || Suspend::new(async move {
                    match page.await {
                        Ok(loaded) => Either::Left(view! { <Loaded loaded asked=asked.get_untracked()/> }),
                        Err(error) => Either::Right(view! { <ProblemNote error/> }),
                    }
                })}
            </Transition>
        </section>
    }
}

#[component]
fn Filters(asked: Asked) -> impl IntoView {
    let kinds = Kind::ALL.iter().map(|k| {
        let on = asked.kind == k.as_str();
        view! { <option value=k.as_str() selected=on>{words::kind_name(*k)}</option> }
    });
    view! {
        <form class="filters" method="get" action="/receipts">
            <label>"Kind "
                <select name="kind">
                    <option value="">"all"</option>
                    {kinds.collect_view()}
                </select>
            </label>
            <label>"Release " <input name="release" value=asked.release autocomplete="off" maxlength="80"/></label>
            <label>"By " <input name="actor" value=asked.actor autocomplete="off" maxlength="120"/></label>
            <label>"Below " <input name="before" value=asked.before inputmode="numeric" autocomplete="off" maxlength="20"/></label>
            <button type="submit">"Filter"</button>
        </form>
    }
}

#[component]
fn Loaded(loaded: reads::ReceiptsPage, asked: Asked) -> impl IntoView {
    let older = loaded.next_before.map(|i| asked.href(&i.to_string()));
    let newest = (!asked.before.is_empty()).then(|| asked.href(""));
    let none = loaded.receipts.is_empty();
    view! {
        {if none {
            Either::Left(view! { <p class="none">"No receipt fits."</p> })
        } else {
            Either::Right(view! {
                <div class="wide">
                    <table class="receipts full">
                        <thead>
                            <tr>
                                <th class="n">"Index"</th>
                                <th>"Time"</th>
                                <th>"Kind"</th>
                                <th>"What happened"</th>
                                <th>"Release"</th>
                                <th>"By"</th>
                                <th class="n">"Energy"</th>
                            </tr>
                        </thead>
                        <tbody>{loaded.receipts.into_iter().map(|receipt| view! { <Line receipt/> }).collect_view()}</tbody>
                    </table>
                </div>
            })
        }}
        <nav class="pager" aria-label="Pages of the list">
            {newest.map(|href| view! { <a class="door" href=href>"newest"</a> })}
            {older.map(|href| view! { <a class="door" href=href>"older"</a> })}
        </nav>
    }
}

#[component]
fn Line(receipt: Receipt) -> impl IntoView {
    let said = describe(&receipt);
    let p = receipt.payload;
    let release =
        p.release.as_ref().map(|r| view! { <a class="door" href=format!("/releases/{r}")>{r.to_string()}</a> });
    let by_kind = words::query("/receipts", &[("kind", p.kind.as_str())]);
    view! {
        <tr>
            <td class="n"><a class="door" href=format!("/receipts/{}", receipt.index)>{say::count(receipt.index)}</a></td>
            <td class="t"><Ago at=p.time/></td>
            <td><a class="door mute" href=by_kind>{words::kind_name(p.kind)}</a></td>
            <td class="w"><b>{said.headline}</b>" "<span class="mute">{said.detail}</span></td>
            <td class="rel">{release}</td>
            <td class="by">{p.actor.to_string()}</td>
            <td class="n">{p.energy.as_ref().map(say::energy)}</td>
        </tr>
    }
}
