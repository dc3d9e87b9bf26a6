//! The buttons of a release. Plain forms first: they work before and without the browser's code.

use leptos::{either::Either, ev::KeyboardEvent, form::ActionForm, html, prelude::*};
use model::{Command, CommandKind};
use projections::{ReleaseView, say};

use crate::components::Settle;
use crate::{
    api::{ApiError, commands::ReleaseCommand, reads::Session},
    components::typing,
    live::use_live,
    words::{self, Tone},
};

type SessionResource = Resource<Result<Option<Session>, ApiError>>;

/// One press: these change nothing that another press does not change back.
const DIRECT: [CommandKind; 3] = [CommandKind::Promote, CommandKind::Pause, CommandKind::Resume];
/// A dialog in place, with a reason and what will happen.
const ASKED: [CommandKind; 3] = [CommandKind::PromoteFull, CommandKind::Retry, CommandKind::Rollback];

/// Buttons, each disabled by state with its reason, and what came of the last one.
#[component]
pub fn Controls(
    /// The release as it is now.
    view: RwSignal<ReleaseView>,
    /// Called when a command was accepted.
    accepted: Callback<()>,
) -> impl IntoView {
    let session = use_context::<SessionResource>();
    view! {
        <div class="controls">
            <Suspense>
                {move || session.map(|session| Suspend::new(async move {
                    match session.await {
                        Ok(Some(session)) if session.commands => Either::Left(view! { <Buttons view session accepted/> }),
                        Ok(Some(_)) => Either::Right("You may read. Commands need the role operator."),
                        _ => Either::Right("Log in to give commands."),
                    }
                }))}
            </Suspense>
        </div>
    }
}

#[component]
fn Buttons(view: RwSignal<ReleaseView>, session: Session, accepted: Callback<()>) -> impl IntoView {
    let action = ServerAction::<ReleaseCommand>::new();
    Effect::new(move |_| {
        if action.value().with(|v| matches!(v, Some(Ok(_)))) {
            accepted.run(());
        }
    });
    let session = StoredValue::new(session);
    // Shown where it is possible or was a moment ago: a button that has no sense in this phase takes no room.
    let shown = move |kind: CommandKind| {
        view.with(|v| {
            let over = !v.row.in_flight();
            match kind {
                CommandKind::Retry => v.commands.iter().any(|c| c.kind == kind && c.refused.is_none()),
                CommandKind::Rollback => over || v.row.promoted,
                CommandKind::Resume => v.row.held.is_some() || v.row.waits(),
                CommandKind::Promote | CommandKind::PromoteFull if v.row.promoted => false,
                CommandKind::Pause if v.row.promoted => false,
                CommandKind::Pause => !over && v.row.held.is_none(),
                _ => !over,
            }
        })
    };
    view! {
        <div class="buttons" class:pending=move || action.pending().get()>
            {DIRECT.into_iter().map(|kind| view! {
                <Show when=move || shown(kind)>
                    <Direct kind view action session/>
                </Show>
            }).collect_view()}
            {ASKED.into_iter().map(|kind| view! {
                <Show when=move || shown(kind)>
                    <Asked kind view action session/>
                </Show>
            }).collect_view()}
            <Show when=move || shown(CommandKind::Abort)>
                <Asked kind=CommandKind::Abort view action session/>
            </Show>
        </div>
        <p class="outcome" role="status">{move || {
            if action.pending().get() {
                return Some(view! { <span class="state run">"Sent, waiting for its receipt"</span> }.settled());
            }
            action.value().get().map(|result| {
                let (tone, said) = match result {
                    Ok(done) => (Tone::Good, format!("{} accepted, receipt {}", done.kind, say::count(done.receipt))),
                    Err(e @ ApiError::Unavailable(_)) => (Tone::Unknown, e.to_string()),
                    Err(e) => (Tone::Bad, e.to_string()),
                };
                view! { <span class=format!("state {}", tone.class())>{said}</span> }.settled()
            })
        }}</p>
    }
}

/// Why a command is not possible now.
fn refused(view: RwSignal<ReleaseView>, kind: CommandKind) -> Option<String> {
    view.with(|v| v.commands.iter().find(|c| c.kind == kind).and_then(|c| c.refused.clone()))
}

#[component]
fn Hidden(kind: CommandKind, view: RwSignal<ReleaseView>, session: StoredValue<Session>) -> impl IntoView {
    let release = view.with_untracked(|v| v.row.id.to_string());
    let key = move || {
        view.with(|v| session.with_value(|s| words::command_key(&s.form_token, &s.actor, v.row.id.as_str(), v.as_of)))
    };
    view! {
        <input type="hidden" name="release" value=release/>
        <input type="hidden" name="kind" value=kind.as_str()/>
        <input type="hidden" name="command_id" prop:value=key value=key/>
        <input type="hidden" name="form_token" value=session.with_value(|s| s.form_token.clone())/>
    }
}

#[component]
fn Direct(
    kind: CommandKind,
    view: RwSignal<ReleaseView>,
    action: ServerAction<ReleaseCommand>,
    session: StoredValue<Session>,
) -> impl IntoView {
    let why_not = move || refused(view, kind);
    let (name, does) = words::command(kind);
    view! {
        <ActionForm action=action>
            <Hidden kind view session/>
            <button
                type="submit"
                class=kind.as_str()
                disabled=move || why_not().is_some()
                title=move || why_not().map_or_else(|| does.to_owned(), |why| format!("Not now: {why}"))
            >
                {name}
            </button>
        </ActionForm>
    }
}

/// A button that opens a dialog below itself. `details` opens without a script; Enter confirms because it is a form, Escape
/// leaves, `a` opens the abort dialog.
#[component]
fn Asked(
    kind: CommandKind,
    view: RwSignal<ReleaseView>,
    action: ServerAction<ReleaseCommand>,
    session: StoredValue<Session>,
) -> impl IntoView {
    let why_not = move || refused(view, kind);
    let (name, does) = words::command(kind);
    let details = NodeRef::<html::Details>::new();
    let reason = NodeRef::<html::Input>::new();
    let set_open = move |open: bool| {
        if let Some(details) = details.get_untracked() {
            details.set_open(open);
            if open && let Some(reason) = reason.get_untracked() {
                let _ = reason.focus();
            }
        }
    };
    // The dialog has done its work once the command is on its way.
    Effect::new(move |_| {
        if action.pending().get() {
            set_open(false);
        }
    });
    if kind == CommandKind::Abort {
        abort_key(move || set_open(true));
    }
    let id = format!("reason-{kind}");
    view! {
        <details
            class=format!("ask {kind}")
            node_ref=details
            on:toggle=move |_| {
                if details.get_untracked().is_some_and(|d| d.open()) {
                    set_open(true);
                }
            }
            on:keydown=move |e: KeyboardEvent| {
                if e.key() == "Escape" {
                    // Of the dialog only: what lies under it stays.
                    e.stop_propagation();
                    set_open(false);
                }
            }
        >
            <summary
                class=move || format!("button {kind}{}", if why_not().is_some() { " off" } else { "" })
                title=move || why_not().map(|why| format!("Not now: {why}"))
            >
                {name}"…"
            </summary>
            <div class="dialog" role="group" aria-label=name>
                <ActionForm action=action>
                    <Hidden kind view session/>
                    <p>{does}</p>
                    <p class="mute">{move || view.with(|v| consequence(kind, v))}</p>
                    {move || why_not().map(|why| view! { <p class="state bad">{format!("Not now: {why}")}</p> })}
                    <label for=id.clone()>"Reason, it goes into the receipt"</label>
                    <input id=id.clone() node_ref=reason name="reason" maxlength=Command::MAX_REASON.to_string() autocomplete="off"/>
                    <div class="dialog-buttons">
                        <button type="submit" class=format!("confirm {kind}") disabled=move || why_not().is_some()>{name}" now"</button>
                        <Show when=move || use_live().awake.get()>
                            <button type="button" on:click=move |_| set_open(false)>"Leave"</button>
                        </Show>
                    </div>
                </ActionForm>
            </div>
        </details>
    }
}

/// What a dialog says of this release in particular: what will not be undone.
fn consequence(kind: CommandKind, v: &ReleaseView) -> String {
    let served = match v.row.exposed {
        0 => "what the canary has already served".to_owned(),
        n => format!("the {} that the canary has already served", say::plural(n, "request", "requests")),
    };
    match kind {
        CommandKind::Abort => {
            let migration = match &v.envelope {
                Some((_, e)) if e.down_migration != "none" => format!(" The down-migration {} runs.", e.down_migration),
                Some(_) => " No down-migration is configured.".to_owned(),
                None => " No rollback envelope is armed yet: only traffic and processes are put back.".to_owned(),
            };
            format!("Now at {}. Not undone: {served}, and what it wrote.{migration}", v.row.weight)
        }
        CommandKind::PromoteFull => {
            format!("Now at {}. The analysis of the skipped steps is not waited for.", v.row.weight)
        }
        CommandKind::Rollback => match &v.envelope {
            Some((_, e)) => format!(
                "Back to {} ({}). Not undone: {served}, and what it wrote.",
                e.previous_version,
                e.previous_image.short()
            ),
            None => "There is no armed envelope.".to_owned(),
        },
        CommandKind::Retry => format!("Back at step 1 of {} with {}.", v.row.step.1, v.row.version),
        _ => String::new(),
    }
}

/// `a` opens the abort dialog, unless somebody is typing.
fn abort_key(open: impl Fn() + Clone + 'static) {
    Effect::new(move |_| {
        let open = open.clone();
        let handle = window_event_listener(leptos::ev::keydown, move |e| {
            let plain = !e.ctrl_key() && !e.meta_key() && !e.alt_key();
            if plain && e.key() == "a" && !typing() {
                e.prevent_default();
                open();
            }
        });
        on_cleanup(move || handle.remove());
    });
}
