//! Who we are: Basic, or a token from the registry's token service (the distribution project's token specification).

use std::{collections::HashMap, sync::Mutex};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::{Client, header};
use serde::Deserialize;
use url::Url;

use super::{
    credentials::{Credentials, Login},
    http::{body, root},
};
use crate::{Error, limits};

/// Tokens kept, one for each scope: a promotion needs two or three.
const TOKENS: usize = 64;

/// What is known of how the registry wants to be asked.
pub(super) struct Auth {
    base: Url,
    host: String,
    credentials: Credentials,
    /// `Authorization` headers by scope; the one without a scope (Basic) is good for all.
    headers: Mutex<HashMap<String, String>>,
}

/// `Bearer realm="…",service="…"`.
#[derive(Debug, PartialEq)]
enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String> },
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl Auth {
    pub(super) fn new(base: Url, host: String, credentials: Credentials) -> Self {
        Self { base, host, credentials, headers: Mutex::default() }
    }

    pub(super) async fn header(&self, scope: &str) -> Option<String> {
        let headers = self.headers.lock().ok()?;
        headers.get(scope).or_else(|| headers.get("")).cloned()
    }

    /// Answers a 401. False: there is nothing that could be answered.
    pub(super) async fn answer(
        &self,
        client: &Client,
        place: &str,
        challenges: &[String],
        scope: &str,
    ) -> Result<bool, Error> {
        let found: Vec<Challenge> = challenges.iter().filter_map(|text| challenge(text)).collect();
        let bearer = found.iter().find(|c| matches!(c, Challenge::Bearer { .. }));
        let Some(challenge) = bearer.or(found.first()) else { return Ok(false) };
        let login = self.credentials.find(&self.host).await?;
        let (key, value) = match (challenge, login) {
            (Challenge::Basic, Some(Login::Password { user, password })) => (String::new(), basic(&user, &password)),
            // A token of the user's own is nothing for Basic.
            (Challenge::Basic, _) => return Ok(false),
            (Challenge::Bearer { realm, service }, login) => {
                let realm = self.realm(place, realm)?;
                let token = self.token(client, place, realm, service.as_deref(), scope, login.as_ref()).await?;
                (scope.to_owned(), format!("Bearer {token}"))
            }
        };
        if let Ok(mut headers) = self.headers.lock() {
            if headers.len() >= TOKENS {
                headers.clear();
            }
            // The same answer again would be refused again.
            return Ok(headers.insert(key, value.clone()).as_ref() != Some(&value));
        }
        Ok(false)
    }

    /// The token service's address comes from the registry, and our password goes there: never in the clear when the registry itself is
    /// encrypted, and never to this machine at a far registry's word.
    fn realm(&self, place: &str, text: &str) -> Result<Url, Error> {
        let wrong = |why: &str| Error::Answer {
            place: place.to_owned(),
            what: "who may ask".to_owned(),
            why: format!("with a token service that {why}"),
        };
        let realm = Url::parse(text).map_err(|_| wrong("has no address"))?;
        match (self.base.scheme(), realm.scheme()) {
            (_, "https") | ("http", "http") => {}
            _ => return Err(wrong("is not encrypted")),
        }
        let near = |url: &Url| match url.host() {
            Some(url::Host::Ipv4(ip)) => ip.is_loopback() || ip.is_link_local() || ip.is_unspecified(),
            Some(url::Host::Ipv6(ip)) => ip.is_loopback() || ip.is_unspecified() || ip.is_unicast_link_local(),
            Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            None => true,
        };
        if near(&realm) && !near(&self.base) {
            return Err(wrong("is on this machine or its own link"));
        }
        Ok(realm)
    }

    async fn token(
        &self,
        client: &Client,
        place: &str,
        mut realm: Url,
        service: Option<&str>,
        scope: &str,
        login: Option<&Login>,
    ) -> Result<String, Error> {
        let service = service.unwrap_or_default();
        let request = match login {
            Some(Login::Identity(token)) => {
                let mut form = url::form_urlencoded::Serializer::new(String::new());
                let form = form
                    .append_pair("grant_type", "refresh_token")
                    .append_pair("service", service)
                    .append_pair("client_id", "deliveryos")
                    .append_pair("scope", scope)
                    .append_pair("refresh_token", token)
                    .finish();
                client.post(realm).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(form)
            }
            other => {
                realm.query_pairs_mut().append_pair("service", service).append_pair("scope", scope);
                let request = client.get(realm);
                match other {
                    Some(Login::Password { user, password }) => {
                        request.header(header::AUTHORIZATION, basic(user, password))
                    }
                    _ => request,
                }
            }
        };
        let what = "a token";
        let lost = |cause: String| Error::Unreachable { place: place.to_owned(), what: what.to_owned(), cause };
        let sent = tokio::time::timeout(limits::IDLE, request.send()).await;
        let answer = sent
            .map_err(|_| lost(format!("its token service gave no answer in {} s", limits::IDLE.as_secs())))?
            .map_err(|e| lost(format!("its token service: {}", root(&e.without_url()))))?;
        let status = answer.status();
        if status.is_client_error() && status.as_u16() != 429 {
            return Err(Error::Denied { place: place.to_owned(), what: what.to_owned(), status: status.as_u16() });
        }
        if !status.is_success() {
            return Err(lost(format!("its token service answered {status}")));
        }
        let bytes = body(place, what, answer, limits::ANSWER_BYTES).await?;
        // serde's message could quote the token.
        let wrong = || Error::Answer { place: place.to_owned(), what: what.to_owned(), why: "without one".to_owned() };
        let token: Token = serde_json::from_slice(&bytes).map_err(|_| wrong())?;
        let token = token.token.or(token.access_token).ok_or_else(wrong)?;
        if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(wrong());
        }
        Ok(token)
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

fn challenge(text: &str) -> Option<Challenge> {
    let (scheme, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let (mut realm, mut service) = (None, None);
    let mut rest = rest.trim();
    while let Some((name, after)) = rest.split_once('=') {
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_once(',').unwrap_or((after, "")),
        };
        match name.trim().to_ascii_lowercase().as_str() {
            "realm" => realm = Some(value.to_owned()),
            "service" => service = Some(value.to_owned()),
            _ => {}
        }
        rest = next.trim_start_matches([',', ' ']);
    }
    Some(Challenge::Bearer { realm: realm?, service })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges() {
        let check = |text: &str, expected: Option<Challenge>| assert_eq!(challenge(text), expected, "{text}");
        let bearer = |realm: &str, service: Option<&str>| {
            Some(Challenge::Bearer { realm: realm.to_owned(), service: service.map(str::to_owned) })
        };
        check("Basic realm=\"x\"", Some(Challenge::Basic));
        check(
            "Bearer realm=\"https://auth.example.com/token\",service=\"registry\",scope=\"repository:a:pull,push\"",
            bearer("https://auth.example.com/token", Some("registry")),
        );
        check("bearer scope=\"a,b\", realm=https://x/y", bearer("https://x/y", None));
        check("Bearer service=\"x\"", None);
        check("Bearer realm=\"open", None);
        check("Digest realm=\"x\"", None);
        check("", None);
    }

    #[test]
    fn a_far_registry_cannot_have_our_password_sent_here() {
        let auth = |base: &str| Auth::new(Url::parse(base).unwrap(), "h".into(), Credentials::default());
        let far = auth("https://registry.example.com/");
        assert!(far.realm("p", "https://auth.example.com/token").is_ok());
        assert!(far.realm("p", "http://auth.example.com/token").is_err());
        assert!(far.realm("p", "https://127.0.0.1/token").is_err());
        assert!(far.realm("p", "https://169.254.169.254/token").is_err());
        assert!(far.realm("p", "https://localhost/token").is_err());
        assert!(auth("http://127.0.0.1:5000/").realm("p", "http://127.0.0.1:5001/token").is_ok());
    }
}
