//! The log's key and health, sessions and tokens.
//!
//! Its forms are plain ones, answered by plain pages: a token's secret is shown once, and no script ever holds it.

use leptos::prelude::*;
use leptos_meta::Title;
use maud::{Markup, html};
use model::Timestamp;
use projections::say;

use crate::{
    api::{
        page::asked_for,
        settings::{Entry, SettingsPage as Loaded, get_settings},
    },
    components::{Heading, Settle, ago, read_page, shown},
    live::use_live,
};

/// The settings.
#[component]
pub fn SettingsPage() -> impl IntoView {
    let page = asked_for(String::new, |_| get_settings());
    view! {
        <Title text="Settings"/>
        {read_page(page, |loaded| {
            let now = use_live().now.get_untracked();
            view! { <section class="page settings"><Heading>"Settings"</Heading>{shown(settings(&loaded, now))}</section> }.settled()
        })}
    }
}

fn settings(loaded: &Loaded, now: Timestamp) -> Markup {
    let Loaded { origin, vkey, keyid, size, checkpoint, problems, form_token, admin, sessions, tokens } = loaded;
    let (covered, root) = checkpoint.as_ref().map_or((0, ""), |(covered, root)| (*covered, root.as_str()));
    let behind = size.receipts.saturating_sub(covered);
    let receipts = say::plural(covered, "receipt", "receipts");
    html! {
        section aria-labelledby="key" {
            h2 #key { "The log's key" }
            p.mute { "Keep the key where this server cannot change it: whoever has it can check every receipt, every release and the whole log without this server's word." }
            dl {
                dt { "Name" } dd { code { (origin) } }
                dt { "Verifying key" } dd { code.hash { (vkey) } }
                dt { "Fingerprint" } dd { code.hash { (keyid) } }
            }
        }
        section aria-labelledby="log" {
            h2 #log { "The log" }
            dl {
                dt { "Receipts" } dd { a.door href="/receipts" { (say::count(size.receipts)) } }
                dt { "Releases" } dd { a.door href="/releases" { (say::count(size.releases)) } }
                dt { "Checkpoint" }
                dd {
                    @if behind == 0 { span.state.ok { "covers all " (receipts) } }
                    @else { span.state.wait { "covers " (receipts) ", " (say::count(behind)) " are newer" } }
                    " · " a.door href="/checkpoint" rel="external" { "signed note" }
                }
                dt { "Root" } dd { code.hash { (root) } }
                dt { "Verified" }
                dd {
                    "At its start the server held tree and checkpoint against each other. Every byte: "
                    a.door href="/receipts#verify" { "in this browser" } ", or " code { "deliveryos log verify" }
                }
                @if !problems.is_empty() {
                    dt { "Health" }
                    @for problem in problems { dd { span.state.bad { (problem) } } }
                }
                dt { "On the disk" } dd { (megabytes(size.bytes)) }
            }
        }
        section aria-labelledby="sessions" {
            h2 #sessions { "Sessions " span { @if *admin { "of everybody" } @else { "yours" } } }
            (entries(sessions, form_token, "End", "Nobody is logged in by a link.", now))
        }
        @if *admin {
            section aria-labelledby="tokens" {
                h2 #tokens { "Tokens " span { "for tools" } }
                (entries(tokens, form_token, "Revoke", "There is no token.", now))
                h3 { "Make one" }
                form.filters method="post" action="/settings/tokens" {
                    input type="hidden" name="form_token" value=(form_token);
                    label { "Name " input name="name" required maxlength="120" autocomplete="off"; }
                    label { "Role "
                        select name="role" {
                            option value="viewer" { "viewer: read" }
                            option value="operator" { "operator: give commands" }
                            option value="admin" { "admin: let others in" }
                        }
                    }
                    label { "Days " input name="days" type="number" min="1" max="365" value="30" required; }
                    button type="submit" { "Make token" }
                }
            }
        }
    }
}

fn entries(entries: &[Entry], form_token: &str, word: &str, none: &str, now: Timestamp) -> Markup {
    if entries.is_empty() {
        return html! { p.none { (none) } };
    }
    html! {
        div.wide {
            table.entries {
                thead {
                    tr {
                        th { "Who" }
                        th { "Role" }
                        th { "Since" }
                        th { "Ends" }
                        th { span.sr { "End it" } }
                    }
                }
                tbody {
                    @for entry in entries {
                        tr {
                            td.name { b { (entry.actor) } @if entry.this { " (this one)" } }
                            td { (entry.role) }
                            td { (ago(entry.created, now)) }
                            td { (ago(entry.expires, now)) }
                            td.n {
                                form method="post" action="/settings/revoke" {
                                    input type="hidden" name="form_token" value=(form_token);
                                    input type="hidden" name="id" value=(entry.id);
                                    button type="submit" aria-label={ (word) " that of " (entry.actor) } { (word) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// `12.4 MB`, `1,304 MB`.
fn megabytes(bytes: u64) -> String {
    let mb = bytes as f64 / 1e6;
    // Far below what the cast could not hold.
    if mb < 100.0 { format!("{mb:.1} MB") } else { format!("{} MB", say::count(mb.round() as u64)) }
}
