//! Addresses of pages, and the keys that commands carry.

/// What the keys of this session's commands to a release begin with. Says nothing about the session's token: it is a hash.
#[cfg(feature = "ssr")]
pub fn form_key(form_token: &str, actor: &str, release: &str) -> String {
    let hash = tlog::leaf_hash(format!("{form_token}\n{actor}\n{release}").as_bytes());
    hash.to_string().chars().filter(char::is_ascii_alphanumeric).take(24).collect()
}

/// The key of the command that a page in this state sends: the same page state, session and release give the same key, so a form sent twice is
/// carried out once.
pub fn command_key(form_key: &str, as_of: u64) -> String {
    format!("{form_key}-{as_of}")
}

/// A query string out of names and values; empty values are left out.
pub fn query(path: &str, pairs: &[(&str, &str)]) -> String {
    let mut out = path.to_owned();
    for (name, value) in pairs.iter().filter(|(_, v)| !v.is_empty()) {
        out.push(if out.contains('?') { '&' } else { '?' });
        out.push_str(name);
        out.push('=');
        for b in value.bytes() {
            match b {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(b)),
                _ => out.push_str(&format!("%{b:02X}")),
            }
        }
    }
    out
}

/// This page's address with some of its query changed; `None` takes a name out.
pub fn address(path: &str, query: &str, changes: impl IntoIterator<Item = (&'static str, Option<String>)>) -> String {
    let changes: Vec<_> = changes.into_iter().collect();
    let kept = query.trim_start_matches('?').split('&').filter(|pair| !pair.is_empty());
    let kept = kept.filter(|pair| !changes.iter().any(|(name, _)| pair.split('=').next() == Some(*name)));
    let kept = kept.collect::<Vec<_>>().join("&");
    let base = if kept.is_empty() { path.to_owned() } else { format!("{path}?{kept}") };
    let set: Vec<(&str, &str)> = changes.iter().filter_map(|(name, v)| Some((*name, v.as_deref()?))).collect();
    self::query(&base, &set)
}

#[cfg(test)]
mod tests {
    #[cfg(feature = "ssr")]
    use model::CommandKind;

    use super::*;

    #[cfg(feature = "ssr")]
    #[test]
    fn keys_of_commands() {
        let key = |token, actor, release, as_of| command_key(&form_key(token, actor, release), as_of);
        let this = key("secret", "dana", "a-1", 7);
        assert_eq!(this, key("secret", "dana", "a-1", 7));
        for other in [
            key("other", "dana", "a-1", 7),
            key("secret", "lee", "a-1", 7),
            key("secret", "dana", "a-2", 7),
            key("secret", "dana", "a-1", 8),
        ] {
            assert_ne!(this, other);
        }
        for kind in CommandKind::ALL {
            assert!(format!("{kind}-{}", key("secret", "dana", "a-1", u64::MAX)).parse::<model::CommandId>().is_ok());
        }
    }

    #[test]
    fn a_part_of_an_address_changes() {
        let some = |v: &str| Some(v.to_owned());
        for (query, changes, changed) in [
            ("", vec![("receipt", some("7"))], "/r?receipt=7"),
            ("?receipt=7", vec![("receipt", None)], "/r"),
            ("?from=1&receipt=7&to=2", vec![("receipt", some("8"))], "/r?from=1&to=2&receipt=8"),
            ("from=1&to=2", vec![("from", None), ("to", None), ("at", some("3"))], "/r?at=3"),
            ("fromage=1", vec![("from", None)], "/r?fromage=1"),
        ] {
            assert_eq!(address("/r", query, changes), changed);
        }
    }

    #[test]
    fn addresses() {
        assert_eq!(
            query("/receipts", &[("kind", ""), ("release", "a b&c"), ("before", "7")]),
            "/receipts?release=a%20b%26c&before=7"
        );
        assert_eq!(query("/receipts", &[]), "/receipts");
    }
}
