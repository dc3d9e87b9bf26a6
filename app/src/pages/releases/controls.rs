//! The buttons of a release. Plain forms first: they work before and without the browser's code.

use leptos::server_fn::ServerFn;
use maud::{Markup, html};
use model::{Command, CommandKind};
use projections::{ReleaseView, say};

use super::page::Page;
use crate::{
    api::{
        ApiError,
        commands::{Accepted, ReleaseCommand},
        reads::Session,
    },
    words::{self, Tone},
};

/// What the reader may do.
pub(super) enum Reader {
    /// Nobody is logged in, or it is not known who.
    Nobody,
    /// May read.
    Viewer,
    /// May give commands.
    Operator(Form),
}

/// What forms carry.
pub(super) struct Form {
    /// As `form_token`.
    pub(super) token: String,
    /// What the keys of their commands begin with.
    pub(super) key: String,
}

impl Reader {
    /// As the server says.
    pub(super) fn of(session: Result<Option<Session>, ApiError>, key: String) -> Self {
        match session {
            Ok(Some(session)) if session.commands => Self::Operator(Form { token: session.form_token, key }),
            Ok(Some(_)) => Self::Viewer,
            _ => Self::Nobody,
        }
    }
}

/// One press: these change nothing that another press does not change back.
const DIRECT: [CommandKind; 3] = [CommandKind::Promote, CommandKind::Pause, CommandKind::Resume];
/// A dialog in place, with a reason and what will happen.
const ASKED: [CommandKind; 4] =
    [CommandKind::PromoteFull, CommandKind::Retry, CommandKind::Rollback, CommandKind::Abort];

/// What came of the last command that was given here.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Given {
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
    "NOT known to be carried out: the server does not answer. Press again, it is carried out at most once";

/// Buttons, each disabled by state with its reason.
pub(super) fn buttons(p: &Page) -> String {
    if p.past().is_some() {
        return html! { "You look back: commands are given in the present." }.into_string();
    }
    match &p.reader {
        Reader::Operator(with) => all(p, with).into_string(),
        Reader::Viewer => html! { "You may read. Commands need the role operator." }.into_string(),
        Reader::Nobody => html! { "Log in to give commands." }.into_string(),
    }
}

/// What came of the last command.
pub(super) fn outcome(p: &Page) -> String {
    let said = match &p.given {
        Given::Nothing => None,
        Given::Sent => Some((Tone::Run, "Sent, waiting for its receipt".to_owned())),
        Given::Unanswered => Some((Tone::Bad, UNANSWERED.to_owned())),
        Given::Answered(Err(e)) if e.is_silence() => Some((Tone::Bad, UNANSWERED.to_owned())),
        Given::Answered(Ok(done)) => {
            Some((Tone::Good, format!("{} accepted, receipt {}", done.kind, say::count(done.receipt))))
        }
        // It may have been carried out in part: the server's words say how far.
        Given::Answered(Err(e @ ApiError::Unavailable(_))) => Some((Tone::Unknown, e.to_string())),
        Given::Answered(Err(e)) => Some((Tone::Bad, e.to_string())),
    };
    html! {
        p.outcome role="status" {
            @if let Some((tone, said)) = said { span class={ "state " (tone.class()) } { (said) } }
        }
    }
    .into_string()
}

/// Shown where it is possible or was a moment ago: a button that has no sense in this phase takes no room.
fn sensible(p: &Page, kind: CommandKind) -> bool {
    let v = &p.live;
    let over = !v.row.in_flight();
    // It will not be possible again: the page says which release came after it.
    if over && p.newest.is_some() {
        return false;
    }
    match kind {
        CommandKind::Retry => v.commands.iter().any(|c| c.kind == kind && c.refused.is_none()),
        CommandKind::Rollback => over || v.row.promoted,
        CommandKind::Resume => v.row.held.is_some() || v.row.waits(),
        CommandKind::Promote | CommandKind::PromoteFull if v.row.promoted => false,
        CommandKind::Pause if v.row.promoted => false,
        CommandKind::Pause => !over && v.row.held.is_none() && !v.row.waits(),
        _ => !over,
    }
}

fn all(p: &Page, with: &Form) -> Markup {
    html! {
        div.buttons.pending[p.given == Given::Sent] {
            @for kind in DIRECT { @if sensible(p, kind) { (direct(p, kind, with)) } }
            // A dialog that somebody is in stays until they leave it.
            @for kind in ASKED {
                @if sensible(p, kind) || p.asking.as_deref() == Some(kind.as_str()) { (asked(p, kind, with)) }
            }
        }
    }
}

/// Why a command is not possible now.
fn refused(p: &Page, kind: CommandKind) -> Option<&str> {
    let by_state = p.live.commands.iter().find(|c| c.kind == kind).and_then(|c| c.refused.as_deref());
    // What takes the traffic away is tried all the same.
    let alone = p.left_alone.is_some() && p.live.row.in_flight() && kind != CommandKind::Abort;
    let over = p.newest.is_some() && !p.live.row.in_flight();
    by_state
        .or(alone.then_some("nobody carries this release on, see above"))
        .or(over.then_some("a newer release of this service came after it"))
}

/// A form that gives the command, with or without the browser's code.
fn form(v: &ReleaseView, kind: CommandKind, with: &Form, fields: &Markup) -> Markup {
    let release = v.row.id.as_str();
    let key = words::command_key(&with.key, v.as_of);
    html! {
        form method="post" action=(ReleaseCommand::PATH) data-key=(kind) {
            input type="hidden" name="release" value=(release);
            input type="hidden" name="kind" value=(kind);
            input type="hidden" name="command_id" value=(key);
            input type="hidden" name="form_token" value=(with.token);
            (fields)
        }
    }
}

fn direct(p: &Page, kind: CommandKind, with: &Form) -> Markup {
    let v = &p.live;
    let (why_not, (name, does)) = (refused(p, kind), words::command(kind));
    let title = why_not.map_or_else(|| does.to_owned(), |why| format!("Not now: {why}"));
    // Where a press leads, when the recipe says it.
    let to = v.row.stops.iter().filter(|stop| **stop > v.row.weight).min();
    let to = to.filter(|_| kind == CommandKind::Promote && why_not.is_none());
    let button = html! {
        button type="submit" class=(kind) disabled[why_not.is_some()] title=(title) {
            (name) @if let Some(weight) = to { span.to { " to " (weight) } }
        }
    };
    form(v, kind, with, &button)
}

/// A button that opens a dialog below itself. `details` opens without a script, and by Enter and the space bar; Enter confirms because
/// it is a form, Escape leaves, `a` opens the abort dialog. Whether it is open is said by the browser, and by our code once it is there.
fn asked(p: &Page, kind: CommandKind, with: &Form) -> Markup {
    let v = &p.live;
    let (why_not, (name, does)) = (refused(p, kind), words::command(kind));
    let title = why_not.map(|why| match v.row.ended.filter(|_| !sensible(p, kind) && p.newest.is_none()) {
        Some(end) => format!("Ended at {}: {}.", end.clock(), words::headline(v).plain()),
        None => format!("Not now: {why}"),
    });
    let fields = html! {
        // Why not takes the place of what it would do: what lies below is where it was.
        div.does {
            div.past[title.is_some()] { p { (does) } p.mute { (consequence(kind, p)) } }
            p.state.bad role="alert" hidden[title.is_none()] { @if let Some(title) = &title { (title) } }
        }
        label for={ "reason-" (kind) } { "Reason, it goes into the receipt; may stay empty" }
        input id={ "reason-" (kind) } name="reason" maxlength=(Command::MAX_REASON) autocomplete="off" readonly[title.is_some()];
        div.dialog-buttons {
            button type="submit" class={ "confirm " (kind) } disabled[why_not.is_some()] { (name) " now" }
            @if p.awake { button type="button" data-leave="" { "Cancel" } }
        }
    };
    html! {
        details class={ "ask " (kind) } data-key=(kind) name="ask" {
            summary role="button" aria-expanded=[p.awake.then_some("false")]
                class={ "button " (kind) @if why_not.is_some() { " off" } } title=[title.as_deref()] { (name) "…" }
            div.dialog role="group" aria-label=(name) { (form(v, kind, with, &fields)) }
        }
    }
}

/// What a dialog says of this release in particular: what will not be undone.
fn consequence(kind: CommandKind, p: &Page) -> String {
    let v = &p.live;
    let served = match p.served() {
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

#[cfg(all(test, feature = "ssr"))]
mod tests {
    use model::{Timestamp, event::Outcome};
    use projections::Phase;

    use super::{super::page::Address, *};

    /// A release under way as an operator sees it, and when.
    fn operated() -> (Page, Timestamp) {
        let view = crate::gallery::sample_view();
        let now = view.row.started.plus_millis(400_000);
        let with = Form { token: "t".to_owned(), key: "k".to_owned() };
        let page = Page::new(view, Vec::new(), Reader::Operator(with), Address::default(), now);
        (page, now)
    }

    #[test]
    fn nobody_carries_it_on_and_only_an_abort_is_taken() {
        let (mut page, now) = operated();
        let off = |page: &Page| {
            let kinds = page.live.commands.iter().map(|c| c.kind);
            kinds.filter(|kind| refused(page, *kind).is_none()).collect::<Vec<_>>()
        };
        assert!(off(&page).len() > 2, "{:?}", off(&page));
        page.left_alone = Some("receipt 7 is damaged".to_owned());
        assert_eq!(off(&page), [CommandKind::Abort]);
        page.live.row.phase = Phase::Ended(Outcome::Promoted);
        (page.live.row.ended, page.live.row.promoted) = (Some(now), true);
        page.live.commands = projections::commands(&page.live.row, &page.live.receipts);
        page.newest = Some(crate::api::reads::Newest { id: "a-2".into(), version: "v9".into(), state: "5 %".into() });
        assert_eq!(off(&page), []);
    }

    #[test]
    fn a_release_that_begins_while_the_page_is_open_is_told() {
        let (mut page, now) = operated();
        page.live.row.phase = Phase::Ended(Outcome::Aborted);
        page.live.row.ended = Some(now);
        page.live.commands = projections::commands(&page.live.row, &page.live.receipts);
        let retry = |page: &Page| refused(page, CommandKind::Retry).map(str::to_owned);
        assert_eq!(retry(&page), None);
        let begun = page.live.receipts.iter().find(|r| r.payload.kind == model::Kind::CanaryStarted);
        let mut begun = begun.unwrap().clone();
        begun.index = page.live.as_of + 1;
        begun.payload.release = Some("other-1".parse().unwrap());
        begun.payload.facts.insert("version".to_owned(), "v9".into());
        let mut elsewhere = begun.clone();
        elsewhere.payload.facts.insert("service".to_owned(), "elsewhere".into());
        page.take(&elsewhere);
        assert_eq!((retry(&page), page.newest.clone()), (None, None), "of another service");
        page.take(&begun);
        assert_eq!(retry(&page).as_deref(), Some("a newer release of this service came after it"));
        let said = (super::super::rooms::ROOMS[0].write)(&page);
        assert!(said.contains("href=\"/releases/other-1\">v9</a> came after it, starting"), "{said}");
        assert!(!buttons(&page).contains("Retry"), "what cannot be given any more takes no room");
        page.asking = Some("retry".to_owned());
        assert!(buttons(&page).contains("role=\"alert\">Not now: a newer release"), "{}", buttons(&page));
    }

    #[test]
    fn what_the_server_says_of_a_command_is_not_taken_for_silence() {
        let (mut page, _) = operated();
        let mut said = |error: ApiError| {
            page.given = Given::Answered(Err(error));
            outcome(&page)
        };
        use leptos::server_fn::error::FromServerFnError as _;
        let silence = ApiError::from_server_fn_error(leptos::server_fn::error::ServerFnErrorErr::Request("x".into()));
        assert!(said(silence).contains("NOT known to be carried out"));
        let part = said(ApiError::Unavailable("the traffic is off, and no receipt could be written".to_owned()));
        assert!(part.contains("the traffic is off") && !part.contains("NOT known"), "{part}");
    }

    #[test]
    fn a_dialog_that_somebody_is_in_stays_and_says_what_happened() {
        let (mut page, now) = operated();
        let abort = |page: &Page| {
            let all = buttons(page);
            all.split_once("class=\"ask abort\"").map(|(_, rest)| rest.split("</details>").next().unwrap().to_owned())
        };
        page.asking = Some("abort".to_owned());
        let open = abort(&page).unwrap();
        assert!(!open.contains("readonly") && !open.contains("disabled") && open.contains("role=\"alert\" hidden"));
        page.live.row.phase = Phase::Ended(Outcome::Aborted);
        page.live.row.ended = Some(now);
        page.live.commands = projections::commands(&page.live.row, &page.live.receipts);
        let ended = abort(&page).unwrap();
        let said = format!("role=\"alert\">Ended at {}: v8 was aborted after 6 m 40 s.", now.clock());
        assert!(ended.contains(&said), "{ended}");
        assert!(ended.contains(" readonly") && ended.contains("class=\"confirm abort\" disabled"), "{ended}");
        page.asking = None;
        assert_eq!(abort(&page), None, "left, it goes");
    }
}
