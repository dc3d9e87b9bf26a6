//! One release: where it stands in a sentence, its timeline, what can be done, what it is made of.

use leptos::{html, prelude::*};
use leptos_meta::Title;
use leptos_router::hooks::{use_location, use_params_map, use_query_map};

use super::{
    controls::Reader,
    drawer::{Beside, drawer},
    page::{Address, Page},
    rooms,
};
use crate::{
    api::{
        ApiError,
        page::{asked_for, read},
        reads::{self, Session, SessionText, get_release},
    },
    components::{ProblemNote, Settle, awaited},
    live::use_live,
};

/// The page of one release.
#[component]
pub fn ReleasePage() -> impl IntoView {
    let params = use_params_map();
    let page = asked_for(move || params.read().get("id").unwrap_or_default(), get_release);
    let session = use_context::<SessionText>();
    let beside = Beside::begin();
    // When the page comes from the server it is not drawn here.
    #[cfg(feature = "hydrate")]
    if use_live().awake.get_untracked() {
        super::ahead::make_ready();
    }
    awaited(move || {
        Box::pin(async move {
            let loaded = page.await.and_then(|text| read(&text));
            let session = match session {
                Some(session) => session.0.await.and_then(|text| read(&text)),
                None => Ok(None),
            };
            let unreadable = || ApiError::Unavailable("its receipts do not say how it started".to_owned());
            let shown = loaded.and_then(|loaded| show(loaded, session, beside).ok_or_else(unreadable));
            shown.unwrap_or_else(|error| view! { <Title text="Release"/><ProblemNote error/> }.settled())
        })
    })
}

/// What the page's address says by now.
pub(super) fn address() -> impl Fn() -> Address + Clone {
    let (query, location) = (use_query_map(), use_location());
    move || {
        let asked = query.get();
        let get = |name| asked.get(name).unwrap_or_default();
        Address {
            path: location.pathname.get(),
            search: location.search.get(),
            command: get("command"),
            accepted: get("accepted"),
            problem: get("problem"),
            show: get("show"),
        }
    }
}

/// The page; `None` when the receipts are not those of a rollout.
fn show(mut loaded: reads::ReleasePage, session: Result<Option<Session>, ApiError>, beside: Beside) -> Option<AnyView> {
    let live = use_live();
    let query = use_query_map();
    let asked = |name| query.read_untracked().get(name).unwrap_or_default();
    let address = address();
    let here = untrack(&address);
    let reader = Reader::of(session, std::mem::take(&mut loaded.form_key));
    let mut page = Page::loaded(loaded, reader, here, live.now.get_untracked())?;
    page.awake = live.awake.get_untracked();
    page.below = !page.awake || tall();
    page.begin_at(&asked("from"), &asked("to"), &asked("at"));
    // Of its own: on the server the document is put together when what this page owns may be gone.
    let title = ArcRwSignal::new(page.title());
    let places = RwSignal::new(page.live.receipts.iter().map(|r| r.index).collect());
    let root = NodeRef::<html::Section>::new();
    let class = if page.past().is_some() { "page release past" } else { "page release" };
    // What the server wrote is taken over as it is: then nothing is written here.
    let taken_over = cfg!(feature = "hydrate") && !page.awake;
    let written = if taken_over { Vec::new() } else { rooms::all(&page) };
    let first = if taken_over { String::new() } else { rooms::page(&page, &written) };
    #[cfg(feature = "hydrate")]
    super::board::Board::begin(page, written, root, title.clone(), places, address);
    Some(
        view! {
            <Title text=title/>
            <section class=class node_ref=root>
                <div class="room" inner_html=first></div>
                {drawer(beside, places)}
            </section>
        }
        .settled(),
    )
}

/// Whether what is long may be in sight at once: then it is not left to the next frame, which would move what stands below it.
fn tall() -> bool {
    /// Pixels of height; `style/components/release.css` has the same.
    #[cfg(feature = "hydrate")]
    const TALL: f64 = 1200.0;
    #[cfg(feature = "hydrate")]
    let is = window().inner_height().ok().and_then(|h| h.as_f64()).is_some_and(|h| h >= TALL);
    #[cfg(not(feature = "hydrate"))]
    let is = false;
    is
}

/// The parts of a release's page, for the gallery.
#[cfg(feature = "ssr")]
pub(crate) fn sample(
    view: projections::ReleaseView,
    ticks: Vec<model::Tick>,
    session: Session,
    now: model::Timestamp,
) -> String {
    rooms::sample(&Page::new(view, ticks, Reader::of(Ok(Some(session)), String::new()), Address::default(), now))
}
