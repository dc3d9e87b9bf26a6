//! Who is asking, and the checks on every unsafe request.
//!
//! * A session cookie: an unsafe method needs the same Origin **and**, where something is changed, the session's form token
//!   (`form_token` in a form, `X-Form-Token` beside JSON).
//! * `Authorization: Bearer` without a cookie: neither, since no other site can make a browser send it.
//! * Nobody: pages lead to the login, everything else is 401.
//!
//! SameSite is per *site*: a sibling subdomain passes it. Hence the Origin is the control and the cookie's attribute a second line.

mod limit;
mod login;

use std::net::IpAddr;

use access::{AccessError, Identity, Role};
use axum::{
    Json,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{Html, IntoResponse, Response},
};
use http_body_util::{BodyExt, Limited};
use serde_json::json;

pub use limit::Limiter;
pub(crate) use login::plain_page;
pub use login::{LoginLink, log_in, log_out, login_page};

use crate::router::{App, Need, need, rekor};

/// Longest form whose token is looked for: a reason of 500 characters, each of up to 12 bytes when encoded, and ids.
const MAX_FORM: usize = 64 * 1024;

/// The token that forms carry, as a field.
pub const FORM_TOKEN: &str = "form_token";
/// The same beside a JSON body.
pub const FORM_TOKEN_HEADER: &str = "x-form-token";

/// Address of the other side of the connection.
#[derive(Debug, Clone, Copy)]
pub struct Peer(
    /// The address, without the port.
    pub IpAddr,
);

/// Why a request is not let through. The texts go to the client and hold no secret and no internal error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Nobody is logged in, or not any more.
    #[error("not logged in: use the login link, or a token from `deliveryos token create`")]
    NotLoggedIn,
    /// The role does not suffice.
    #[error("this needs the role {0}")]
    Role(Role),
    /// The request comes from another site, or does not say from where.
    #[error("refused: this request does not come from a page of this server")]
    Origin,
    /// The form's token is missing or another session's.
    #[error("refused: this form belongs to another session; load the page again")]
    FormToken,
    /// The form is too large.
    #[error("the form is too large")]
    TooLarge,
    /// Too many attempts.
    #[error("too many attempts: wait a minute")]
    TooMany,
    /// It could not be found out.
    #[error("access could not be checked: nobody is let in until it can")]
    Unavailable,
}

impl Denied {
    fn status(self) -> StatusCode {
        match self {
            Self::NotLoggedIn => StatusCode::UNAUTHORIZED,
            Self::Role(_) | Self::Origin | Self::FormToken => StatusCode::FORBIDDEN,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The word by which server functions and the API name it.
    fn word(self) -> &'static str {
        match self {
            Self::NotLoggedIn => "not-logged-in",
            Self::Role(_) | Self::Origin => "forbidden",
            Self::FormToken => "form-expired",
            Self::TooLarge => "invalid",
            Self::TooMany => "refused",
            Self::Unavailable => "unavailable",
        }
    }

    /// As the client can read it: a page for people, JSON for programs, Rekor's form for its clients.
    pub(crate) fn answer(self, request: &Asked) -> Response {
        if self == Self::NotLoggedIn && request.wants_page && request.safe && !request.rekor {
            let next: String = reqwest::Url::parse_with_params("http://x/login", [("next", &request.target)])
                .map_or_else(|_| "/login".to_owned(), |url| format!("/login?{}", url.query().unwrap_or_default()));
            return crate::router::see_other(&next);
        }
        let mut response = if request.rekor {
            rekor::denied(self.status(), self.to_string())
        } else if request.wants_page {
            Html(login::plain_page("Not allowed", &format!("<p>{self}.</p><p><a href=\"/\">Overview</a></p>")))
                .into_response()
        } else {
            Json(json!({ "error": self.word(), "detail": self.to_string() })).into_response()
        };
        *response.status_mut() = self.status();
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self == Self::NotLoggedIn {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"deliveryos\""));
        }
        response
    }
}

/// What of a request decides the form of a refusal.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    wants_page: bool,
    safe: bool,
    rekor: bool,
    target: String,
}

impl Asked {
    pub(crate) fn of(request: &Request) -> Self {
        let accept = request.headers().get_all(header::ACCEPT);
        let target = request.uri().path_and_query().map_or("/", |p| p.as_str());
        Self {
            wants_page: accept.iter().any(|v| v.to_str().is_ok_and(|v| v.contains("text/html"))),
            safe: is_safe(request.method()),
            rekor: rekor::is_api(request.uri().path()),
            // Longer ones are not worth coming back to.
            target: if target.len() <= 500 { target.to_owned() } else { "/".to_owned() },
        }
    }
}

/// How somebody says who they are.
enum Presented {
    Cookie(String),
    Bearer(String),
    Nothing,
}

/// Lets a request through to its route, with its [`Identity`] among the request's extensions, or answers it.
pub async fn gate(State(app): State<App>, request: Request, next: Next) -> Response {
    let asked = Asked::of(&request);
    match admit(&app, request).await {
        Ok(request) => next.run(request).await,
        Err(denied) => {
            tracing::debug!(reason = denied.word(), "request denied");
            denied.answer(&asked)
        }
    }
}

async fn admit(app: &App, mut request: Request) -> Result<Request, Denied> {
    let need = need(request.method(), request.uri().path(), app.log_is_public);
    let safe = is_safe(request.method());
    if need == Need::Public && safe {
        return Ok(request);
    }
    let presented = presented(app, request.headers());
    if !safe && !matches!(presented, Presented::Bearer(_)) && !same_origin(app, request.headers()) {
        // Rekor's clients have no page to come from: without a token they are nobody.
        let nobody = matches!(presented, Presented::Nothing) && rekor::is_api(request.uri().path());
        return Err(if nobody { Denied::NotLoggedIn } else { Denied::Origin });
    }
    if need == Need::Public {
        return Ok(request);
    }
    let identity = identify(app, &presented).await?;
    if let Some(role) = need.role()
        && identity.role < role
    {
        return Err(Denied::Role(role));
    }
    if !safe && need.changes() && matches!(presented, Presented::Cookie(_)) {
        let (kept, sent) = sent_form_token(request).await?;
        request = kept;
        identity.require_form_token(sent.as_deref()).map_err(|_| Denied::FormToken)?;
    }
    request.extensions_mut().insert(identity);
    Ok(request)
}

async fn identify(app: &App, presented: &Presented) -> Result<Identity, Denied> {
    let now = app.clock.now();
    let found = match presented {
        Presented::Cookie(secret) => app.access.session(secret, now).await,
        Presented::Bearer(secret) => app.access.token(secret, now).await,
        Presented::Nothing => return Err(Denied::NotLoggedIn),
    };
    found.map_err(|error| match error {
        AccessError::Unavailable(why) => {
            tracing::error!(%why, "access could not be checked");
            Denied::Unavailable
        }
        _ => Denied::NotLoggedIn,
    })
}

/// True while whoever presented this is still let in as viewer: asked again by streams that stay open for long.
pub(crate) async fn still_admitted(app: &App, headers: &HeaderMap) -> bool {
    matches!(identify(app, &presented(app, headers)).await, Ok(identity) if identity.role >= Role::Viewer)
}

/// A cookie wins over a bearer token: who sends both is a browser and gets a browser's checks.
fn presented(app: &App, headers: &HeaderMap) -> Presented {
    if let Some(secret) = cookie(headers, &app.cookie.name) {
        return Presented::Cookie(secret.to_owned());
    }
    let bearer = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).and_then(|v| {
        let (scheme, secret) = v.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim().to_owned())
    });
    bearer.map_or(Presented::Nothing, Presented::Bearer)
}

fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let sent = headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok());
    sent.flat_map(|v| v.split(';')).find_map(|pair| {
        let (found, value) = pair.trim().split_once('=')?;
        (found == name).then_some(value)
    })
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// What the browser says must say that the page is ours; what it does not say proves nothing, and both missing is a refusal.
fn same_origin(app: &App, headers: &HeaderMap) -> bool {
    let origin = headers.get(header::ORIGIN);
    let site = headers.get("sec-fetch-site");
    if origin.is_none() && site.is_none() {
        return false;
    }
    let site_agrees = site.is_none_or(|v| v.as_bytes() == b"same-origin");
    let origin_agrees = origin.is_none_or(|v| {
        let sent = v.as_bytes();
        match &app.public_url {
            Some(url) => sent == url.origin().as_bytes(),
            None => own_host(headers).is_some_and(|host| sent == format!("http://{host}").as_bytes()),
        }
    });
    // Without an Origin the host must still be ours, or a name that an attacker points here would pass as "same".
    let host_agrees = app.public_url.is_some() || own_host(headers).is_some();
    site_agrees && origin_agrees && host_agrees
}

/// The host asked for, when it is an address or `localhost`: names can be pointed here by anybody who owns one.
fn own_host(headers: &HeaderMap) -> Option<&str> {
    let host = headers.get(header::HOST)?.to_str().ok()?;
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    (name == "localhost" || address.parse::<IpAddr>().is_ok()).then_some(host)
}

/// The form token sent, and the request as it was.
async fn sent_form_token(request: Request) -> Result<(Request, Option<String>), Denied> {
    if let Some(token) = request.headers().get(FORM_TOKEN_HEADER) {
        let token = token.to_str().ok().map(str::to_owned);
        return Ok((request, token));
    }
    let is_form = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).is_some_and(|v| {
        v.split(';').next().is_some_and(|v| v.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded"))
    });
    if !is_form {
        return Ok((request, None));
    }
    let (parts, body) = request.into_parts();
    let bytes = Limited::new(body, MAX_FORM).collect().await.map_err(|_| Denied::TooLarge)?.to_bytes();
    let token = form_field(&bytes, FORM_TOKEN);
    Ok((Request::from_parts(parts, Body::from(bytes)), token))
}

/// A field of a form, the first of its name.
pub(crate) fn form_field(form: &Bytes, name: &str) -> Option<String> {
    reqwest::Url::parse("http://x/").ok().and_then(|mut url| {
        url.set_query(std::str::from_utf8(form).ok());
        url.query_pairs().find(|(found, _)| found == name).map(|(_, value)| value.into_owned())
    })
}

/// How the session's cookie is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cookie {
    name: String,
    secure: bool,
}

impl Cookie {
    /// With TLS in front the name itself binds the cookie to this host (`__Host-`). Without it the port is in the name: cookies do not
    /// tell ports apart, and a second server on the same machine must not end this one's session.
    pub fn new(https: bool, port: u16) -> Self {
        let name = if https { "__Host-deliveryos".to_owned() } else { format!("deliveryos-{port}") };
        Self { name, secure: https }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn set(&self, value: &str, seconds: i64) -> Option<HeaderValue> {
        let secure = if self.secure { "; Secure" } else { "" };
        let text = format!("{}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={}{secure}", self.name, seconds.max(0));
        HeaderValue::from_str(&text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_are_ours() {
        let check = |host: &str, ours: bool| {
            let headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_str(host).unwrap())]);
            assert_eq!(own_host(&headers).is_some(), ours, "{host}");
        };
        for ours in ["localhost:3000", "localhost", "127.0.0.1:3000", "[::1]:3000", "192.168.1.9:3000"] {
            check(ours, true);
        }
        for other in ["evil.example:3000", "localhost.evil.example", "127.0.0.1.evil.example:3000", "", ":3000"] {
            check(other, false);
        }
    }

    #[test]
    fn cookies_and_forms_are_read() {
        let headers = HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_static("a=1; deliveryos-3000=x; b"))]);
        assert_eq!(cookie(&headers, "deliveryos-3000"), Some("x"));
        assert_eq!(cookie(&headers, "deliveryos"), None);
        assert_eq!(form_field(&Bytes::from_static(b"a=1&form_token=x%20y+z"), FORM_TOKEN).as_deref(), Some("x y z"));
        assert_eq!(form_field(&Bytes::from_static(b"\xff"), FORM_TOKEN), None);
        let cookie = Cookie::new(true, 443).set("v", 60).unwrap();
        assert_eq!(cookie, "__Host-deliveryos=v; Path=/; HttpOnly; SameSite=Lax; Max-Age=60; Secure");
    }
}
