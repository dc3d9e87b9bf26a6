//! What is read before it can be shown.
//!
//! Every page does this once. The framework makes its own code for each type of future and of closure that it is given, so there is one
//! of each here, for all pages.

use std::{pin::Pin, sync::Arc};

use leptos::prelude::*;
use serde::de::DeserializeOwned;

use super::{ProblemLine, ProblemNote, Settle};
use crate::api::{
    ApiError,
    page::{self, PageResource},
};

/// Draws what a page is made of from its text.
type Draw = Arc<dyn Fn(&str) -> Result<AnyView, ApiError> + Send + Sync>;

/// A view on its way.
pub type Coming = Pin<Box<dyn Future<Output = AnyView> + Send>>;

/// Shows what `view` gives once it is there; until then, on the way from another page, that the log is being read.
pub fn awaited(view: impl Fn() -> Coming + Send + Sync + 'static) -> AnyView {
    fn of(view: Box<dyn Fn() -> Coming + Send + Sync>) -> AnyView {
        view! {
            <Transition fallback=|| view! { <p class="wait-note">"Reading the log"</p> }.settled()>
                {coming(view)}
            </Transition>
        }
        .settled()
    }
    /// In the browser it is asked for again when what it is made of has changed.
    #[cfg(not(feature = "ssr"))]
    fn coming(view: Box<dyn Fn() -> Coming + Send + Sync>) -> impl IntoView {
        move || Suspend::new(view())
    }
    /// On the server once: what waits for it looks at it a second time, and a function would draw the page again for that.
    #[cfg(feature = "ssr")]
    fn coming(view: Box<dyn Fn() -> Coming + Send + Sync>) -> impl IntoView {
        Suspend::new(view())
    }
    of(Box::new(view))
}

/// What a page is made of. Instead of what could not be read stands why, as the whole page.
pub fn read_page<T: DeserializeOwned + Send + 'static>(
    page: PageResource,
    draw: impl Fn(T) -> AnyView + Send + Sync + 'static,
) -> AnyView {
    read(page, draw, |error| view! { <ProblemNote error/> }.settled())
}

/// What a part of a page is made of. Instead of what could not be read stands a line that says why.
pub fn read_line<T: DeserializeOwned + Send + 'static>(
    page: PageResource,
    draw: impl Fn(T) -> AnyView + Send + Sync + 'static,
) -> AnyView {
    read(page, draw, |error| view! { <ProblemLine error/> }.settled())
}

fn read<T: DeserializeOwned + Send + 'static>(
    page: PageResource,
    draw: impl Fn(T) -> AnyView + Send + Sync + 'static,
    problem: fn(ApiError) -> AnyView,
) -> AnyView {
    fn of(page: PageResource, draw: Draw, problem: fn(ApiError) -> AnyView) -> AnyView {
        awaited(move || {
            let draw = draw.clone();
            Box::pin(async move { page.await.and_then(|text| draw(&text)).unwrap_or_else(problem) })
        })
    }
    of(page, Arc::new(move |text| page::read(text).map(&draw)), problem)
}
