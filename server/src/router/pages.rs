//! The pages and the server functions they call, with what both get by context.

use std::sync::LazyLock;

use app::{
    api::{
        ApiError,
        context::{Environments, LogHealth, LogKey},
    },
    parts::PartsNeeded,
};
use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use leptos::prelude::*;
use leptos_axum::{AxumRouteListing, ResponseOptions};

use super::App;
use crate::{auth, site};

/// The address of the gallery: every part of the pages in every state. No page leads there.
const GALLERY: &str = "/gallery";
/// The address of the login page: a route of the server and a page at once.
const LOGIN: &str = "/login";
/// Longest error of a server function that is read, bytes: a sentence.
const LONGEST_ERROR: usize = 64 * 1024;

/// Adds a route for each page and each server function.
pub(super) fn add(router: Router<App>, app: &App) -> Router<App> {
    let pages = listings().iter().filter(|page| page.path() != LOGIN);
    let mut router = router;
    for listed in pages {
        let app = app.clone();
        let handler = move |request: Request| {
            let app = app.clone();
            async move { page(app, request).await }
        };
        router = router.route(listed.path(), axum::routing::get(handler));
    }
    let gallery = app.clone();
    router = router.route(
        GALLERY,
        axum::routing::get(move |request: Request| {
            let (context, options) = (context(&gallery, &request), options());
            let render = leptos_axum::render_app_async_with_context(context, move || app::gallery(options.clone()));
            async move { render(request).await.into_response() }
        }),
    );
    for (path, method) in leptos::server_fn::axum::server_fn_paths() {
        let app = app.clone();
        let handler = move |request: Request| {
            let app = app.clone();
            async move {
                let answer = leptos_axum::handle_server_fns_with_context(context(&app, &request), request).await;
                with_its_status(answer.into_response()).await
            }
        };
        let filter = axum::routing::MethodFilter::try_from(method);
        // Never a GET: a link or an image must not be able to call one.
        if let Ok(filter) = filter
            && filter != axum::routing::MethodFilter::GET
        {
            router = router.route(path, axum::routing::on(filter, handler));
        }
    }
    router
}

/// What was refused before the function's own code was reached (arguments that cannot be read) comes as an error of ours: the answer's
/// body knows better.
async fn with_its_status(mut answer: Response) -> Response {
    if answer.status() != StatusCode::INTERNAL_SERVER_ERROR {
        return answer;
    }
    let body = axum::body::to_bytes(std::mem::take(answer.body_mut()), LONGEST_ERROR).await.unwrap_or_default();
    if let Ok(status) = StatusCode::from_u16(ApiError::de(body.clone()).status()) {
        *answer.status_mut() = status;
    }
    *answer.body_mut() = body.into();
    answer
}

/// Paths of the pages.
pub(super) fn listing() -> Vec<String> {
    listings().iter().map(|page| page.path().to_owned()).chain([GALLERY.to_owned()]).collect()
}

/// The pages that the app knows, listed once in a process and before any of them is asked for: while they are listed, the framework keeps
/// every resource of the whole process from being loaded, and a page that was being made at that moment would never be whole.
fn listings() -> &'static [AxumRouteListing] {
    static LISTED: LazyLock<Vec<AxumRouteListing>> = LazyLock::new(|| leptos_axum::generate_route_list(app::App));
    &LISTED
}

/// The page at the request's address.
pub(super) async fn page(app: App, request: Request) -> Response {
    let options = options();
    let context = context(&app, &request);
    let needed = PartsNeeded::default();
    let given = needed.clone();
    let context = move || {
        context();
        provide_context(given.clone());
    };
    let render = leptos_axum::render_app_async_with_context(context, move || app::shell(options.clone()));
    let mut response = render(request).await.into_response();
    // The page is whole by now. Its part is fetched beside the first load, as the loader will ask for it.
    for file in site::parts(&needed.names()) {
        let link = format!("<{file}>; rel=preload; as=fetch; crossorigin");
        if let Ok(link) = HeaderValue::from_str(&link) {
            response.headers_mut().append(header::LINK, link);
        }
    }
    response
}

/// `GET /login`: the button for a link, else the page that says how to get one.
pub(super) async fn login(State(app): State<App>, query: axum::extract::RawQuery, request: Request) -> Response {
    let has_token = query.0.as_deref().is_some_and(|query| query.split('&').any(|pair| pair.starts_with("token=")));
    if has_token {
        match axum::extract::Query::try_from_uri(request.uri()) {
            Ok(asked) => auth::login_page(asked).await,
            Err(error) => error.into_response(),
        }
    } else {
        page(app, request).await
    }
}

fn options() -> LeptosOptions {
    LeptosOptions::builder().output_name("deliveryos").site_pkg_dir("pkg").site_root("target/site").build()
}

/// What pages and server functions find in their context.
fn context(app: &App, request: &Request) -> impl Fn() + Clone + Send + Sync + 'static + use<> {
    let app = app.clone();
    let identity = request.extensions().get::<access::Identity>().cloned();
    move || {
        provide_context(identity.clone());
        provide_context(app.read.clone());
        provide_context(app.delivery.clone());
        provide_context(app.clock.clone());
        provide_context(app.access.clone());
        provide_context(app.store.clone());
        provide_context(LogKey(app.vkey.clone()));
        provide_context(LogHealth(app.health.in_full(&app.delivery.left_alone())));
        provide_context(Environments(app.promotions.order()));
        if let (Some(nonce), Some(response)) = (leptos::nonce::use_nonce(), use_context::<ResponseOptions>()) {
            let policy = format!(
                "default-src 'none'; script-src 'self' 'nonce-{nonce}' 'wasm-unsafe-eval'; style-src 'self' 'nonce-{nonce}'; \
                 img-src 'self' data:; font-src 'self'; connect-src 'self'; manifest-src 'self'; form-action 'self'; \
                 base-uri 'none'; object-src 'none'; frame-ancestors 'none'"
            );
            if let Ok(policy) = HeaderValue::from_str(&policy) {
                response.insert_header(header::CONTENT_SECURITY_POLICY, policy);
            }
            // A page holds a nonce and a form token: it is nobody else's, and not tomorrow's.
            response.insert_header(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
    }
}
