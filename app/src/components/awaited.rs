//! What is read before it can be shown.
//!
//! Every page does this once. The framework makes its own code for each type of future and of closure that it is given, so there is one
//! of each here, for all pages.

use std::pin::Pin;

use leptos::prelude::*;

use super::{ProblemLine, ProblemNote, Settle};
use crate::api::ApiError;

/// A view on its way.
pub type Coming = Pin<Box<dyn Future<Output = AnyView> + Send>>;

/// Shows what `view` gives once it is there; until then, on the way from another page, that the log is being read.
pub fn awaited(view: impl Fn() -> Coming + Send + Sync + 'static) -> AnyView {
    fn of(view: Box<dyn Fn() -> Coming + Send + Sync>) -> AnyView {
        view! {
            <Transition fallback=|| view! { <p class="wait-note">"Reading the log"</p> }.settled()>
                {move || Suspend::new(view())}
            </Transition>
        }
        .settled()
    }
    of(Box::new(view))
}

/// What a page is made of. Instead of what could not be read stands why, as the whole page.
pub fn read_page<T: Clone + Send + Sync + 'static>(
    page: Resource<Result<T, ApiError>>,
    draw: impl Fn(T) -> AnyView + Clone + Send + Sync + 'static,
) -> AnyView {
    read(page, draw, |error| view! { <ProblemNote error/> }.settled())
}

/// What a part of a page is made of. Instead of what could not be read stands a line that says why.
pub fn read_line<T: Clone + Send + Sync + 'static>(
    page: Resource<Result<T, ApiError>>,
    draw: impl Fn(T) -> AnyView + Clone + Send + Sync + 'static,
) -> AnyView {
    read(page, draw, |error| view! { <ProblemLine error/> }.settled())
}

fn read<T: Clone + Send + Sync + 'static>(
    page: Resource<Result<T, ApiError>>,
    draw: impl Fn(T) -> AnyView + Clone + Send + Sync + 'static,
    problem: fn(ApiError) -> AnyView,
) -> AnyView {
    awaited(move || {
        let draw = draw.clone();
        Box::pin(async move {
            match page.await {
                Ok(loaded) => draw(loaded),
                Err(error) => problem(error),
            }
        })
    })
}
