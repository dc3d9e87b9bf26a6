//! The log's key and health, sessions and tokens.
//!
//! Its forms are plain ones, answered by plain pages: a token's secret is shown once, and no script ever holds it.

use leptos::{either::Either, prelude::*};
use leptos_meta::Title;
use projections::say;

use crate::{
    api::settings::{Entry, SettingsPage as Loaded, get_settings},
    components::{Ago, Heading, ProblemNote, Settle},
};

/// The settings.
#[component]
pub fn SettingsPage() -> impl IntoView {
    let page = Resource::new_blocking(|| (), |()| get_settings());
    view! {
        <Title text="Settings"/>
        <Transition fallback=|| view! { <p class="wait-note">"Reading the log"</p> }>
            {move || Suspend::new(async move {
                match page.await {
                    Ok(loaded) => view! { <Settings loaded/> }.settled(),
                    Err(error) => view! { <ProblemNote error/> }.settled(),
                }
            })}
        </Transition>
    }
}

#[component]
fn Settings(loaded: Loaded) -> impl IntoView {
    let Loaded { origin, vkey, keyid, size, checkpoint, form_token, admin, sessions, tokens } = loaded;
    let (covered, root) = checkpoint.map_or((0, None), |(covered, root)| (covered, Some(root)));
    let behind = size.receipts.saturating_sub(covered);
    let state = if behind == 0 {
        view! { <span class="state ok">{format!("covers all {}", say::plural(covered, "receipt", "receipts"))}</span> }
    } else {
        view! { <span class="state wait">{format!("covers {}, {} are newer", say::plural(covered, "receipt", "receipts"), say::count(behind))}</span> }
    };
    let token = form_token.clone();
    view! {
        <section class="page settings">
            <Heading>"Settings"</Heading>
            <section aria-labelledby="key">
                <h2 id="key">"The log's key"</h2>
                <p class="mute">"Keep the key where this server cannot change it: whoever has it can check every receipt, every release and the whole log without this server's word."</p>
                <dl>
                    <dt>"Name"</dt><dd><code>{origin}</code></dd>
                    <dt>"Verifying key"</dt><dd><code class="hash">{vkey}</code></dd>
                    <dt>"Fingerprint"</dt><dd><code class="hash">{keyid}</code></dd>
                </dl>
            </section>
            <section aria-labelledby="log">
                <h2 id="log">"The log"</h2>
                <dl>
                    <dt>"Receipts"</dt><dd><a class="door" href="/receipts">{say::count(size.receipts)}</a></dd>
                    <dt>"Releases"</dt><dd><a class="door" href="/releases">{say::count(size.releases)}</a></dd>
                    <dt>"Checkpoint"</dt><dd>{state}" · "<a class="door" href="/checkpoint" rel="external">"signed note"</a></dd>
                    <dt>"Root"</dt><dd><code class="hash">{root}</code></dd>
                    <dt>"Verified"</dt><dd>"At its start the server held tree and checkpoint against each other. Every byte: "<a class="door" href="/receipts#verify">"in this browser"</a>", or "<code>"deliveryos log verify"</code></dd>
                    <dt>"On the disk"</dt><dd>{megabytes(size.bytes)}</dd>
                </dl>
            </section>
            <section aria-labelledby="sessions">
                <h2 id="sessions">"Sessions " <span>{if admin { "of everybody" } else { "yours" }}</span></h2>
                <Entries entries=sessions form_token=form_token.clone() word="End" none="Nobody is logged in by a link."/>
            </section>
            {admin
                .then(move || {
                    view! {
                        <section aria-labelledby="tokens">
                            <h2 id="tokens">"Tokens " <span>"for tools"</span></h2>
                            <Entries entries=tokens form_token=form_token word="Revoke" none="There is no token."/>
                            <h3>"Make one"</h3>
                            <form class="filters" method="post" action="/settings/tokens">
                                <input type="hidden" name="form_token" value=token/>
                                <label>"Name " <input name="name" required maxlength="120" autocomplete="off"/></label>
                                <label>"Role "
                                    <select name="role">
                                        <option value="viewer">"viewer: read"</option>
                                        <option value="operator">"operator: give commands"</option>
                                        <option value="admin">"admin: let others in"</option>
                                    </select>
                                </label>
                                <label>"Days " <input name="days" type="number" min="1" max="365" value="30" required/></label>
                                <button type="submit">"Make token"</button>
                            </form>
                        </section>
                    }
                })}
        </section>
    }
}

#[component]
fn Entries(entries: Vec<Entry>, form_token: String, word: &'static str, none: &'static str) -> impl IntoView {
    if entries.is_empty() {
        return Either::Left(view! { <p class="none">{none}</p> });
    }
    let rows = entries.into_iter().map(|entry| {
        let said = format!("{word} that of {}", entry.actor);
        view! {
            <tr>
                <td class="name"><b>{entry.actor}</b>{entry.this.then_some(" (this one)")}</td>
                <td>{entry.role}</td>
                <td><Ago at=entry.created/></td>
                <td><Ago at=entry.expires/></td>
                <td class="n">
                    <form method="post" action="/settings/revoke">
                        <input type="hidden" name="form_token" value=form_token.clone()/>
                        <input type="hidden" name="id" value=entry.id/>
                        <button type="submit" aria-label=said>{word}</button>
                    </form>
                </td>
            </tr>
        }
    });
    Either::Right(view! {
        <div class="wide">
            <table class="entries">
                <thead>
                    <tr>
                        <th>"Who"</th>
                        <th>"Role"</th>
                        <th>"Since"</th>
                        <th>"Ends"</th>
                        <th><span class="sr">"End it"</span></th>
                    </tr>
                </thead>
                <tbody>{rows.collect_view()}</tbody>
            </table>
        </div>
    })
}

/// `12.4 MB`, `1,304 MB`.
fn megabytes(bytes: u64) -> String {
    let mb = bytes as f64 / 1e6;
    // Far below what the cast could not hold.
    if mb < 100.0 { format!("{mb:.1} MB") } else { format!("{} MB", say::count(mb.round() as u64)) }
}
