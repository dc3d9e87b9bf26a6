//! Headers that belong to one hop, and those that tell the version about the client (RFC 9110 section 7.6, RFC 9113 section 8.2).

use std::net::IpAddr;

use bytes::{BufMut, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
pub(crate) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const HTTP: HeaderValue = HeaderValue::from_static("http");
const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");

/// Removes what belongs to this hop, and what `Connection` names.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    // Most messages carry none of these: one pass over the names instead of ten look-ups.
    let mut any = false;
    for name in headers.keys() {
        any |= is_hop_by_hop(name);
    }
    if !any {
        return;
    }
    if headers.contains_key(header::TRANSFER_ENCODING) {
        // RFC 9112 section 6.3: the length that both sides go by is the coding's. Sent on, the other would let one request
        // be read as two.
        headers.remove(header::CONTENT_LENGTH);
    }
    if headers.contains_key(header::CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(header::CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
            // A client must not be able to take away what the proxy relies on.
            .filter(|name| *name != header::HOST && *name != header::CONTENT_LENGTH)
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
    for name in [
        header::CONNECTION,
        KEEP_ALIVE,
        PROXY_CONNECTION,
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        HTTP2_SETTINGS,
    ] {
        headers.remove(name);
    }
}

fn is_hop_by_hop(name: &HeaderName) -> bool {
    *name == header::CONNECTION
        || *name == header::TE
        || *name == header::TRAILER
        || *name == header::TRANSFER_ENCODING
        || *name == header::UPGRADE
        || *name == header::PROXY_AUTHENTICATE
        || *name == header::PROXY_AUTHORIZATION
        || *name == KEEP_ALIVE
        || *name == PROXY_CONNECTION
        || *name == HTTP2_SETTINGS
}

/// The protocol that the message asks to change to, when `Connection` names `Upgrade`.
pub(crate) fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let protocol = headers.get(header::UPGRADE)?;
    has_token(headers, &header::CONNECTION, "upgrade").then(|| protocol.clone())
}

/// True when a list header carries a token, in any case.
fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|part| part.trim().eq_ignore_ascii_case(token))
}

/// True when the client takes trailers: the one value of `TE` that passes a hop (gRPC requires it).
pub(crate) fn wants_trailers(headers: &HeaderMap) -> bool {
    headers.contains_key(header::TE) && has_token(headers, &header::TE, "trailers")
}

/// Says again on the next hop that trailers are taken.
pub(crate) fn ask_for_trailers(headers: &mut HeaderMap) {
    headers.insert(header::TE, TRAILERS);
}

/// Several `Cookie` lines, as HTTP/2 allows, become one, as HTTP/1.1 requires.
pub(crate) fn join_cookies(headers: &mut HeaderMap) {
    let mut lines = headers.get_all(header::COOKIE).iter();
    if lines.next().is_none() || lines.next().is_none() {
        return;
    }
    let mut joined = BytesMut::new();
    for line in headers.get_all(header::COOKIE) {
        if !joined.is_empty() {
            joined.put_slice(b"; ");
        }
        joined.put_slice(line.as_bytes());
    }
    // Joined from valid values with "; ": valid.
    if let Ok(value) = HeaderValue::from_maybe_shared(joined.freeze()) {
        headers.insert(header::COOKIE, value);
    }
}

/// The value of a cookie.
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    headers.get_all(header::COOKIE).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b';')).find_map(
        |pair| {
            let pair = pair.trim_ascii();
            let at = pair.iter().position(|byte| *byte == b'=')?;
            let (key, value) = pair.split_at(at);
            (key == name.as_bytes()).then(|| value.get(1..).unwrap_or_default())
        },
    )
}

/// Tells the version who asked, how and for which host.
pub(crate) fn forward(headers: &mut HeaderMap, client: &HeaderValue, host: Option<&HeaderValue>, trust: bool) {
    if !trust {
        headers.remove(header::FORWARDED);
        headers.insert(X_FORWARDED_FOR, client.clone());
        headers.insert(X_FORWARDED_PROTO, HTTP);
        match host {
            Some(host) => headers.insert(X_FORWARDED_HOST, host.clone()),
            None => headers.remove(X_FORWARDED_HOST),
        };
        return;
    }
    // An address line per hop means the same as one list (RFC 9110 section 5.3).
    headers.append(X_FORWARDED_FOR, client.clone());
    headers.entry(X_FORWARDED_PROTO).or_insert(HTTP);
    if let Some(host) = host {
        headers.entry(X_FORWARDED_HOST).or_insert_with(|| host.clone());
    }
}

/// An address as a header's value.
pub(crate) fn client_value(ip: IpAddr) -> HeaderValue {
    // IPv4 clients of an IPv6 socket are IPv4 clients. Digits, dots and colons are valid.
    HeaderValue::try_from(ip.to_canonical().to_string()).unwrap_or(HeaderValue::from_static("unknown"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| (HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap()))
            .collect()
    }

    fn names(headers: &HeaderMap) -> Vec<String> {
        let mut names: Vec<String> = headers.keys().map(ToString::to_string).collect();
        names.sort();
        names
    }

    #[test]
    fn hop_by_hop_headers_go() {
        let check = |lines: &[(&str, &str)], left: &[&str]| {
            let mut headers = map(lines);
            strip_hop_by_hop(&mut headers);
            assert_eq!(names(&headers), left, "{lines:?}");
        };
        check(&[("accept", "*/*"), ("host", "a")], &["accept", "host"]);
        check(&[("connection", "close"), ("host", "a")], &["host"]);
        check(&[("content-length", "3"), ("transfer-encoding", "chunked"), ("host", "a")], &["host"]);
        check(&[("connection", "X-One , x-two"), ("x-one", "1"), ("x-two", "2"), ("x-three", "3")], &["x-three"]);
        check(
            &[("connection", "host, content-length"), ("host", "a"), ("content-length", "3")],
            &["content-length", "host"],
        );
        check(
            &[
                ("te", "trailers"),
                ("trailer", "x"),
                ("upgrade", "websocket"),
                ("keep-alive", "5"),
                ("proxy-connection", "x"),
                ("transfer-encoding", "chunked"),
            ],
            &[],
        );
    }

    #[test]
    fn upgrades_need_both_headers() {
        let check = |lines: &[(&str, &str)], expected: Option<&str>| {
            assert_eq!(upgrade(&map(lines)).as_ref().map(|v| v.to_str().unwrap()), expected, "{lines:?}");
        };
        check(&[("upgrade", "websocket"), ("connection", "keep-alive, Upgrade")], Some("websocket"));
        check(&[("upgrade", "websocket")], None);
        check(&[("connection", "upgrade")], None);
    }

    #[test]
    fn cookies_are_joined_and_found() {
        let mut headers = map(&[("cookie", "a=1; b=2"), ("cookie", "c=3=x")]);
        assert_eq!(cookie(&headers, "c"), Some(&b"3=x"[..]));
        join_cookies(&mut headers);
        assert_eq!(headers.get_all("cookie").iter().count(), 1);
        assert_eq!(headers.get("cookie").unwrap(), "a=1; b=2; c=3=x");
        assert_eq!(cookie(&headers, "b"), Some(&b"2"[..]));
        assert_eq!(cookie(&headers, "d"), None);
    }

    #[test]
    fn forwarded_headers_are_replaced_unless_trusted() {
        let check = |trust: bool, for_: &[&str], proto: &str| {
            let mut headers = map(&[("x-forwarded-for", "6.6.6.6"), ("x-forwarded-proto", "https"), ("host", "shop")]);
            let host = headers.get("host").cloned();
            forward(&mut headers, &client_value("::ffff:10.0.0.1".parse().unwrap()), host.as_ref(), trust);
            assert_eq!(headers.get_all("x-forwarded-for").iter().collect::<Vec<_>>(), for_);
            assert_eq!(headers.get("x-forwarded-proto").unwrap(), proto);
            assert_eq!(headers.get("x-forwarded-host").unwrap(), "shop");
        };
        check(false, &["10.0.0.1"], "http");
        check(true, &["6.6.6.6", "10.0.0.1"], "https");
    }

    proptest::proptest! {
        /// Whatever a client writes: nothing of the hop passes, only what it named goes, and doing it again changes nothing.
        #[test]
        fn nothing_of_the_hop_passes(lines in proptest::collection::vec((
            proptest::sample::select(vec![
                "connection", "te", "trailer", "transfer-encoding", "upgrade", "keep-alive", "proxy-connection", "proxy-authorization",
                "http2-settings", "content-length", "host", "cookie", "x-one",
            ]),
            "[ -~]{0,24}",
        ), 0..12)) {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(HeaderName::from_static(name), HeaderValue::try_from(value).unwrap());
            }
            let coded = headers.contains_key(header::TRANSFER_ENCODING);
            let before = headers.clone();
            let (wants, asks) = (wants_trailers(&headers), upgrade(&headers).is_some());
            strip_hop_by_hop(&mut headers);
            proptest::prop_assert!(!headers.keys().any(is_hop_by_hop));
            proptest::prop_assert_eq!(headers.contains_key(header::HOST), before.contains_key(header::HOST));
            proptest::prop_assert_eq!(
                headers.contains_key(header::CONTENT_LENGTH),
                before.contains_key(header::CONTENT_LENGTH) && !coded
            );
            proptest::prop_assert!(!wants || before.contains_key(header::TE));
            proptest::prop_assert!(!asks || before.contains_key(header::CONNECTION));
            let once = headers.clone();
            strip_hop_by_hop(&mut headers);
            proptest::prop_assert_eq!(&headers, &once);
            join_cookies(&mut headers);
            proptest::prop_assert!(headers.get_all(header::COOKIE).iter().count() <= 1);
            let _ = cookie(&headers, "uid");
        }
    }
}
