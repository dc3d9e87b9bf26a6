//! Globs over names of images, with the meaning that sigstore's policy-controller gives them: `*` is anything without a slash, `**` is
//! anything, and the whole name must match, tag or digest included.

use regex::{Regex, RegexBuilder};

use crate::{ImageName, limits};

/// A glob.
#[derive(Debug, Clone)]
pub struct Glob {
    text: String,
    pattern: Regex,
}

/// Not a glob.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no glob: 1 to {most} letters, digits and - _ : / . @ with * and **", most = limits::GLOB)]
pub struct BadGlob(
    /// As written.
    pub String,
);

impl Glob {
    /// Reads one.
    pub fn parse(text: &str) -> Result<Self, BadGlob> {
        let bad = || BadGlob(text.chars().take(120).collect());
        let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b':' | b'/' | b'.' | b'*' | b'@');
        if text.is_empty() || text.len() > limits::GLOB || !text.bytes().all(good) {
            return Err(bad());
        }
        // Docker Hub is what a lonely star means there.
        let whole = match text {
            "*" => "index.docker.io/library/*",
            "*/*" => "index.docker.io/*/*",
            other => other,
        };
        let mut pattern = String::from("^");
        let mut rest = whole;
        while let Some(at) = rest.find('*') {
            let (before, after) = rest.split_at(at);
            pattern.push_str(&regex::escape(before));
            match after.strip_prefix("**") {
                Some(after) => {
                    pattern.push_str(".*");
                    rest = after;
                }
                None => {
                    pattern.push_str("[^/]*");
                    rest = after.strip_prefix('*').unwrap_or_default();
                }
            }
        }
        pattern.push_str(&regex::escape(rest));
        pattern.push('$');
        let pattern = RegexBuilder::new(&pattern).size_limit(limits::PATTERN).build().map_err(|_| bad())?;
        Ok(Self { text: text.to_owned(), pattern })
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it means this image.
    pub fn matches(&self, image: &ImageName) -> bool {
        image.names().iter().any(|name| self.pattern.is_match(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        let check = |glob: &str, image: &str, matches: bool| {
            let image = ImageName::parse(image).unwrap();
            assert_eq!(Glob::parse(glob).unwrap().matches(&image), matches, "{glob} on {image}");
        };
        let digest = format!("r.example/shop/app@sha256:{}", "0".repeat(64));
        check("**", &digest, true);
        check("r.example/shop/*", &digest, true);
        check("r.example/**", &digest, true);
        check("r.example/*", &digest, false);
        check("r.example/shop/app", &digest, false);
        check("r.example/shop/app*", &digest, true);
        check("r.example/shop/app@**", &digest, true);
        check("r.example/shop/app:**", "r.example/shop/app:v1", true);
        check("rxexample/**", &digest, false);
        check("*", "nginx", true);
        check("*", "acme/app", false);
        check("*/*", "acme/app", true);
        check("*/*", "r.example/app", false);
        check("index.docker.io/library/nginx:*", "nginx", true);
        check("docker.io/library/nginx:*", "nginx:1.27", true);
        check("nginx:1.27", "nginx:1.27", true);
        // What a stranger's repository is called must not make it one of ours.
        check("r.example/**", "evil.example/r.example/app:v1", false);
        for bad in ["", "a b", "a?", "[a]", "a{1}", "(", "a$", &"a".repeat(600)] {
            assert!(Glob::parse(bad).is_err(), "{bad}");
        }
    }
}
