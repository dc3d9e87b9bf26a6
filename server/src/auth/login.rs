//! Login by a single-use link, and logout. Plain pages that work without JavaScript.
//!
//! The link shows a button, and only pressing it uses the link up: programs that fetch links ahead do not.

use access::AccessError;
use axum::{
    Extension,
    body::Bytes,
    extract::{Query, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use serde::Deserialize;

use super::{Peer, cookie, form_field};
use crate::router::{App, see_other};

/// Longest secret or path that is put into a page.
const MAX_SHOWN: usize = 600;

/// Address of a login link.
#[derive(Debug, Clone)]
pub struct LoginLink {
    /// Where the pages are, e.g. `http://127.0.0.1:3000`.
    pub base: String,
    /// The link's secret.
    pub secret: access::Secret,
}

impl LoginLink {
    /// The whole address, for the person it belongs to.
    pub fn url(&self) -> String {
        format!("{}/login?token={}", self.base, self.secret.expose())
    }
}

/// What the link carries.
#[derive(Deserialize)]
pub struct Asked {
    #[serde(default)]
    token: String,
    #[serde(default)]
    next: String,
}

/// `GET /login`: a button when the link's secret is there, else a field for it.
pub async fn login_page(Query(asked): Query<Asked>) -> Response {
    let next = escape(local(&asked.next));
    let hidden_next = format!("<input type=\"hidden\" name=\"next\" value=\"{next}\">");
    let body = if asked.token.is_empty() || asked.token.len() > MAX_SHOWN {
        format!(
            "<p>This server lets in who has a login link. It was printed where the server was first started; \
             <code>deliveryos token link</code> on that machine makes a new one.</p>\
             <form method=\"post\" action=\"/login\">{hidden_next}\
             <label for=\"token\">Link's secret</label> \
             <input id=\"token\" name=\"token\" required autocomplete=\"off\" spellcheck=\"false\"> \
             <button type=\"submit\">Log in</button></form>"
        )
    } else {
        format!(
            "<p>This link is good once.</p>\
             <form method=\"post\" action=\"/login\">{hidden_next}\
             <input type=\"hidden\" name=\"token\" value=\"{}\">\
             <button type=\"submit\" autofocus>Log in</button></form>",
            escape(&asked.token)
        )
    };
    page(StatusCode::OK, "Log in", &body)
}

/// `POST /login`: redeems the link.
pub async fn log_in(State(app): State<App>, peer: Option<Extension<Peer>>, form: Bytes) -> Response {
    let now = app.clock.now();
    if let Some(Extension(Peer(address))) = peer
        && !app.logins.admits(address, now)
    {
        return page(StatusCode::TOO_MANY_REQUESTS, "Log in", "<p>Too many attempts: wait a minute.</p>");
    }
    let secret = form_field(&form, "token").unwrap_or_default();
    let next = form_field(&form, "next").unwrap_or_default();
    match app.access.redeem_link(secret.trim(), now).await {
        Ok(session) => {
            let mut response = see_other(local(&next));
            if let Some(cookie) = app.cookie.set(session.secret.expose(), session.ends.since(now) / 1000) {
                response.headers_mut().insert(header::SET_COOKIE, cookie);
            }
            tracing::info!(actor = %session.identity.actor, role = %session.identity.role, "logged in");
            response
        }
        Err(AccessError::Unavailable(why)) => {
            tracing::error!(%why, "login could not be checked");
            page(StatusCode::SERVICE_UNAVAILABLE, "Log in", "<p>It could not be checked. Try again.</p>")
        }
        Err(_) => page(
            StatusCode::FORBIDDEN,
            "Log in",
            "<p>This link is not good any more: it was used, or its ten minutes are over.</p>\
             <p><code>deliveryos token link</code> on the server's machine makes a new one.</p>",
        ),
    }
}

/// `POST /logout`: ends the session.
pub async fn log_out(State(app): State<App>, headers: HeaderMap) -> Response {
    if let Some(secret) = cookie(&headers, app.cookie.name())
        && let Err(error) = app.access.end_session(secret).await
    {
        tracing::error!(%error, "a session could not be ended");
        return page(StatusCode::SERVICE_UNAVAILABLE, "Log out", "<p>The session could not be ended. Try again.</p>");
    }
    let mut response = see_other("/login");
    if let Some(gone) = app.cookie.set("", 0) {
        response.headers_mut().insert(header::SET_COOKIE, gone);
    }
    response
}

/// A path of this server, or the overview: never an address elsewhere.
fn local(next: &str) -> &str {
    let ours = next.starts_with('/')
        && !next.starts_with("//")
        && next.len() <= MAX_SHOWN
        && next.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    if ours { next } else { "/" }
}

fn page(status: StatusCode, title: &str, body: &str) -> Response {
    let mut response = (status, Html(plain_page(title, body))).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A page without scripts.
pub(crate) fn plain_page(title: &str, body: &str) -> String {
    format!(
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title} · DeliveryOS</title><link rel=\"icon\" type=\"image/svg+xml\" href=\"/favicon.svg\"><link rel=\"stylesheet\" href=\"/pkg/deliveryos.css\"></head>\
         <body><main class=\"plain\"><h1>{title}</h1>{body}</main></body></html>\n"
    )
}

fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_stay_here() {
        for ours in ["/", "/releases/checkout-7?tab=x"] {
            assert_eq!(local(ours), ours);
        }
        for other in
            ["", "//evil.example", "https://evil.example", "/\\evil.example", "/a b", "javascript:alert(1)", "/\nx"]
        {
            assert_eq!(local(other), "/", "{other}");
        }
        assert_eq!(escape("<a href='x'>\"&"), "&lt;a href=&#39;x&#39;&gt;&quot;&amp;");
    }
}
