//! The buttons of a release. Plain forms first: they work before and without the browser's code.

use leptos::{ev, html, prelude::*, server_fn::ServerFn};
use maud::{Markup, html};
use model::{Command, CommandKind};
use projections::{ReleaseView, say};

use crate::{
    api::{
        ApiError,
        commands::{Accepted, ReleaseCommand},
        reads::Session,
    },
    components::{Settle, awaited, room, shown, typing, written},
    live::use_live,
    words::{self, Tone},
};

type SessionResource = Resource<Result<Option<Session>, ApiError>>;

/// One press: these change nothing that another press does not change back.
const DIRECT: [CommandKind; 3] = [CommandKind::Promote, CommandKind::Pause, CommandKind::Resume];
/// A dialog in place, with a reason and what will happen.
const ASKED: [CommandKind; 4] =
    [CommandKind::PromoteFull, CommandKind::Retry, CommandKind::Rollback, CommandKind::Abort];

/// What came of the last command that was given here.
#[derive(Debug, Clone, PartialEq)]
enum Given {
    Nothing,
    #[cfg_attr(not(feature = "hydrate"), allow(dead_code, reason = "given in the browser only"))]
    Sent,
    /// Sent, and not answered for long: whether it was carried out is not known.
    #[cfg_attr(not(feature = "hydrate"), allow(dead_code, reason = "given in the browser only"))]
    Unanswered,
    #[cfg_attr(not(feature = "hydrate"), allow(dead_code, reason = "given in the browser only"))]
    Answered(Result<Accepted, ApiError>),
}

/// Said when the server does not answer. A press sends the same command again under the same id, which is carried out once.
const UNANSWERED: &str =
    "The server does not answer. Whether it was carried out is not known; press again, it is carried out at most once";

/// Buttons, each disabled by state with its reason, and what came of the last one.
#[component]
pub fn Controls(
    /// The release as it is now.
    view: RwSignal<ReleaseView>,
    /// Called when a command was accepted.
    accepted: Callback<()>,
) -> impl IntoView {
    let session = use_context::<SessionResource>();
    let buttons = awaited(move || {
        Box::pin(async move {
            let session = match session {
                Some(session) => session.await,
                None => Ok(None),
            };
            match session {
                Ok(Some(session)) if session.commands => buttons(view, session, accepted),
                Ok(Some(_)) => shown(html! { "You may read. Commands need the role operator." }),
                _ => shown(html! { "Log in to give commands." }),
            }
        })
    });
    view! { <div class="controls">{buttons}</div> }
}

fn buttons(view: RwSignal<ReleaseView>, session: Session, accepted: Callback<()>) -> AnyView {
    let given = RwSignal::new(Given::Nothing);
    let awake = use_live().awake;
    let controls = written(move || {
        let (awake, pending) = (awake.get(), given.with(|given| *given == Given::Sent));
        view.with(|v| all(v, &session, awake, pending).into_string())
    });
    let outcome = written(move || given.with(|given| outcome(given).into_string()));
    let place = NodeRef::<html::Div>::new();
    abort_key(place);
    view! {
        <div
            class="room"
            node_ref=place
            on:submit=move |e| browser::submitted(e, place, given, accepted)
            on:click=|e| browser::clicked(&e)
            on:keydown=|e| browser::escaped(&e)
        >
            {room(controls)}
        </div>
        {room(outcome)}
    }
    .settled()
}

fn outcome(given: &Given) -> Markup {
    let said = match given {
        Given::Nothing => None,
        Given::Sent => Some((Tone::Run, "Sent, waiting for its receipt".to_owned())),
        Given::Unanswered => Some((Tone::Unknown, UNANSWERED.to_owned())),
        Given::Answered(Ok(done)) => {
            Some((Tone::Good, format!("{} accepted, receipt {}", done.kind, say::count(done.receipt))))
        }
        Given::Answered(Err(e @ ApiError::Unavailable(_))) => Some((Tone::Unknown, e.to_string())),
        Given::Answered(Err(e)) => Some((Tone::Bad, e.to_string())),
    };
    html! {
        p.outcome role="status" {
            @if let Some((tone, said)) = said { span class={ "state " (tone.class()) } { (said) } }
        }
    }
}

/// Shown where it is possible or was a moment ago: a button that has no sense in this phase takes no room.
fn sensible(v: &ReleaseView, kind: CommandKind) -> bool {
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
}

fn all(v: &ReleaseView, session: &Session, awake: bool, pending: bool) -> Markup {
    html! {
        div.buttons.pending[pending] {
            @for kind in DIRECT { @if sensible(v, kind) { (direct(v, kind, session)) } }
            @for kind in ASKED { @if sensible(v, kind) { (asked(v, kind, session, awake)) } }
        }
    }
}

/// Why a command is not possible now.
fn refused(v: &ReleaseView, kind: CommandKind) -> Option<&str> {
    v.commands.iter().find(|c| c.kind == kind).and_then(|c| c.refused.as_deref())
}

/// A form that gives the command, with or without the browser's code.
fn form(v: &ReleaseView, kind: CommandKind, session: &Session, fields: &Markup) -> Markup {
    let release = v.row.id.as_str();
    let key = words::command_key(&session.form_token, &session.actor, release, v.as_of);
    html! {
        form method="post" action=(ReleaseCommand::PATH) data-key=(kind) {
            input type="hidden" name="release" value=(release);
            input type="hidden" name="kind" value=(kind);
            input type="hidden" name="command_id" value=(key);
            input type="hidden" name="form_token" value=(session.form_token);
            (fields)
        }
    }
}

fn direct(v: &ReleaseView, kind: CommandKind, session: &Session) -> Markup {
    let (why_not, (name, does)) = (refused(v, kind), words::command(kind));
    let title = why_not.map_or_else(|| does.to_owned(), |why| format!("Not now: {why}"));
    let button = html! { button type="submit" class=(kind) disabled[why_not.is_some()] title=(title) { (name) } };
    form(v, kind, session, &button)
}

/// A button that opens a dialog below itself. `details` opens without a script; Enter confirms because it is a form, Escape
/// leaves, `a` opens the abort dialog.
fn asked(v: &ReleaseView, kind: CommandKind, session: &Session, awake: bool) -> Markup {
    let (why_not, (name, does)) = (refused(v, kind), words::command(kind));
    let title = why_not.map(|why| format!("Not now: {why}"));
    let fields = html! {
        p { (does) }
        p.mute { (consequence(kind, v)) }
        p.state.bad hidden[title.is_none()] { @if let Some(title) = &title { (title) } }
        label for={ "reason-" (kind) } { "Reason, it goes into the receipt" }
        input id={ "reason-" (kind) } name="reason" maxlength=(Command::MAX_REASON) autocomplete="off";
        div.dialog-buttons {
            button type="submit" class={ "confirm " (kind) } disabled[why_not.is_some()] { (name) " now" }
            @if awake { button type="button" data-leave="" { "Leave" } }
        }
    };
    html! {
        details class={ "ask " (kind) } data-key=(kind) {
            summary class={ "button " (kind) @if why_not.is_some() { " off" } } title=[title.as_deref()] { (name) "…" }
            div.dialog role="group" aria-label=(name) { (form(v, kind, session, &fields)) }
        }
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
fn abort_key(place: NodeRef<html::Div>) {
    Effect::new(move |_| {
        let handle = window_event_listener(ev::keydown, move |e| {
            let plain = !e.ctrl_key() && !e.meta_key() && !e.alt_key();
            if plain && e.key() == "a" && !typing() && browser::open_abort(place) {
                e.prevent_default();
            }
        });
        on_cleanup(move || handle.remove());
    });
}

/// One listener for all buttons: what they are changes, where they are does not.
#[cfg(feature = "hydrate")]
mod browser {
    use leptos::{ev, html, prelude::*};
    use wasm_bindgen::JsCast;
    use web_sys::{Element, FormData, HtmlElement, HtmlFormElement};

    use super::Given;
    use crate::api::commands::release_command;

    /// A command that is not answered after this may be given again.
    const ANSWERED_WITHIN: std::time::Duration = std::time::Duration::from_secs(8);

    pub(super) fn submitted(
        e: ev::SubmitEvent,
        place: NodeRef<html::Div>,
        given: RwSignal<Given>,
        accepted: Callback<()>,
    ) {
        let form = e.target().and_then(|form| form.dyn_into::<HtmlFormElement>().ok());
        let Some(fields) = form.and_then(|form| FormData::new_with_form(&form).ok()) else { return };
        e.prevent_default();
        if given.with_untracked(|given| *given == Given::Sent) {
            return;
        }
        let field = |name| fields.get(name).as_string().unwrap_or_default();
        let command =
            release_command(field("release"), field("kind"), field("reason"), field("command_id"), field("form_token"));
        given.set(Given::Sent);
        // The dialog has done its work once the command is on its way.
        if let Some(open) = place.get_untracked().and_then(|place| place.query_selector("details[open]").ok().flatten())
        {
            close(&open);
        }
        let waiting = set_timeout_with_handle(
            move || {
                if given.try_with_untracked(|given| *given == Given::Sent) == Some(true) {
                    given.set(Given::Unanswered);
                }
            },
            ANSWERED_WITHIN,
        );
        leptos::task::spawn_local(async move {
            let answer = command.await;
            // The next command has its own time.
            if let Ok(waiting) = waiting {
                waiting.clear();
            }
            let done = answer.is_ok();
            let _ = given.try_set(Given::Answered(answer));
            if done {
                accepted.run(());
            }
        });
    }

    /// A press on `Leave` closes the dialog; one that opens a dialog puts the cursor into it.
    pub(super) fn clicked(e: &ev::MouseEvent) {
        let Some(pressed) = target(e) else { return };
        if let Ok(Some(leave)) = pressed.closest("[data-leave]")
            && let Ok(Some(details)) = leave.closest("details")
        {
            close(&details);
        } else if let Ok(Some(summary)) = pressed.closest("summary")
            && let Ok(Some(details)) = summary.closest("details")
        {
            // It opens after this.
            request_animation_frame(move || {
                if details.has_attribute("open") {
                    focus_reason(&details);
                }
            });
        }
    }

    /// Of the dialog only: what lies under it stays.
    pub(super) fn escaped(e: &ev::KeyboardEvent) {
        if e.key() == "Escape"
            && let Some(details) = target(e).and_then(|on| on.closest("details[open]").ok().flatten())
        {
            e.stop_propagation();
            close(&details);
        }
    }

    /// False when nothing can be aborted.
    pub(super) fn open_abort(place: NodeRef<html::Div>) -> bool {
        let abort = place.get_untracked().and_then(|place| place.query_selector("details.abort").ok().flatten());
        let Some(details) = abort else { return false };
        let _ = details.set_attribute("open", "");
        focus_reason(&details);
        true
    }

    fn close(details: &Element) {
        let _ = details.remove_attribute("open");
    }

    fn focus_reason(details: &Element) {
        if let Ok(Some(reason)) = details.query_selector("[name=reason]")
            && let Ok(reason) = reason.dyn_into::<HtmlElement>()
        {
            let _ = reason.focus();
        }
    }

    fn target(e: &ev::Event) -> Option<Element> {
        e.target()?.dyn_into().ok()
    }
}

/// Nothing is pressed on the server.
#[cfg(not(feature = "hydrate"))]
mod browser {
    use leptos::{ev, html, prelude::*};

    use super::Given;

    pub(super) fn submitted(_: ev::SubmitEvent, _: NodeRef<html::Div>, _: RwSignal<Given>, _: Callback<()>) {}
    pub(super) fn clicked(_: &ev::MouseEvent) {}
    pub(super) fn escaped(_: &ev::KeyboardEvent) {}
    pub(super) fn open_abort(_: NodeRef<html::Div>) -> bool {
        false
    }
}
