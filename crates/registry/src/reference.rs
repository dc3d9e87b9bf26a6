//! Names of images: `oci:PATH[:TAG|@DIGEST]` for a layout in a folder, `HOST[:PORT]/REPOSITORY[:TAG|@DIGEST]` for a registry.

use std::{fmt, path::PathBuf, str::FromStr};

use model::Digest;

use crate::Error;

/// Longest name of a repository: the distribution specification's limit for host and name together.
const MAX_NAME: usize = 255;

/// A tag: 1 to 128 letters, digits, `_`, `.`, `-`, the first neither `.` nor `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(String);

/// Which image of a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum At {
    /// What a tag names at present.
    Tag(Tag),
    /// Exactly this one.
    Digest(Digest),
}

/// Where an image is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// A layout in a folder.
    Layout {
        /// The folder.
        path: PathBuf,
        /// Which image; without it the only one there.
        at: Option<At>,
    },
    /// A repository of a registry.
    Registry {
        /// Host, with its port when there is one.
        host: String,
        /// The repository.
        repository: String,
        /// Which image.
        at: Option<At>,
    },
}

impl Tag {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The tag under which referrers of a manifest are listed where the registry has no API for it.
    pub fn of_referrers(subject: &Digest) -> Self {
        // "<algorithm, at most 32>-<digits, at most 64>": sha256 and its 64 digits are never cut.
        Self(format!("sha256-{}", subject.hex()))
    }

    /// cosign's tags of old, beside the image: `sha256-….sig`.
    pub fn of_sidecar(subject: &Digest, suffix: &str) -> Self {
        Self(format!("sha256-{}.{suffix}", subject.hex()))
    }
}

impl FromStr for Tag {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        let first = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let good = (1..=128).contains(&text.len()) && text.bytes().all(inner) && text.bytes().next().is_some_and(first);
        if good {
            Ok(Self(text.to_owned()))
        } else {
            Err(bad(text, "a tag is 1 to 128 letters, digits, _ . -, and does not begin with . or -"))
        }
    }
}
impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => write!(f, ":{tag}"),
            Self::Digest(digest) => write!(f, "@{digest}"),
        }
    }
}
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = match self {
            Self::Layout { path, at } => {
                write!(f, "oci:{}", path.display())?;
                at
            }
            Self::Registry { host, repository, at } => {
                write!(f, "{host}/{repository}")?;
                at
            }
        };
        at.as_ref().map_or(Ok(()), |at| write!(f, "{at}"))
    }
}

impl Reference {
    /// Which image.
    pub fn at(&self) -> Option<&At> {
        match self {
            Self::Layout { at, .. } | Self::Registry { at, .. } => at.as_ref(),
        }
    }

    /// The tag, when it is named by one.
    pub fn tag(&self) -> Option<&Tag> {
        match self.at() {
            Some(At::Tag(tag)) => Some(tag),
            _ => None,
        }
    }
}

impl FromStr for Reference {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        if text.len() > 4096 || text.chars().any(char::is_control) {
            return Err(bad("(too long or with control characters)", "a line of at most 4,096 characters"));
        }
        let (name, digest) = match text.rsplit_once('@') {
            Some((name, digest)) => match digest.parse::<Digest>() {
                Ok(digest) => (name, Some(At::Digest(digest))),
                Err(_) => return Err(bad(text, "after @ comes sha256: and 64 lower-case hex digits")),
            },
            None => (text, None),
        };
        // A tag comes after the last colon that no slash follows: a colon before a slash is a port or a part of a path.
        let split = |name: &str| match name.rsplit_once(':') {
            Some((rest, tag)) if !tag.contains('/') => {
                tag.parse::<Tag>().map(|tag| (rest.to_owned(), Some(At::Tag(tag))))
            }
            _ => Ok((name.to_owned(), None)),
        };
        if let Some(path) = name.strip_prefix("oci:") {
            let (path, tag) = split(path)?;
            if path.is_empty() {
                return Err(bad(text, "oci: is followed by the path of a folder"));
            }
            return Ok(Self::Layout { path: PathBuf::from(path), at: digest.or(tag) });
        }
        let Some((host, rest)) = name.split_once('/') else {
            return Err(bad(text, "HOST/REPOSITORY[:TAG|@DIGEST], or oci:FOLDER[:TAG|@DIGEST]"));
        };
        let (repository, tag) = split(rest)?;
        if !is_host(host) {
            return Err(bad(
                text,
                "it begins with a host (with a dot or a port, or localhost), as registry.example.com/app:v1",
            ));
        }
        if !is_repository(&repository) || host.len() + repository.len() > MAX_NAME {
            return Err(bad(text, "a repository is made of lower-case letters, digits and . _ - between slashes"));
        }
        Ok(Self::Registry { host: host.to_owned(), repository, at: digest.or(tag) })
    }
}

/// A name without dot or port is somebody's repository at a default registry elsewhere: here it is a mistake.
fn is_host(text: &str) -> bool {
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (text, None),
    };
    let v6 = name.strip_prefix('[').and_then(|n| n.strip_suffix(']'));
    let good_name = match v6 {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !name.is_empty()
                && !name.starts_with(['.', '-'])
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'))
        }
    };
    let good_port =
        port.is_none_or(|port| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|p| p > 0));
    good_name && good_port && (name.contains('.') || port.is_some() || name == "localhost" || v6.is_some())
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*` between slashes.
pub(crate) fn is_repository(text: &str) -> bool {
    let part = |part: &str| {
        let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-');
        edge(part.bytes().next())
            && edge(part.bytes().last())
            && part.bytes().all(inner)
            && !part.contains("..")
            && !part.contains("___")
    };
    !text.is_empty() && text.split('/').all(part)
}

fn bad(text: &str, why: &'static str) -> Error {
    Error::Reference { text: text.chars().take(200).collect(), why }
}

#[cfg(test)]
mod tests {
    use super::*;

    const D: &str = "sha256:4f2c4f2c4f2c4f2c4f2c4f2c4f2c4f2c4f2c4f2c4f2c4f2c4f2c4f2c4f2c4f2c";

    #[test]
    fn references() {
        let check = |text: &str, shape: &str| {
            let said = match text.parse::<Reference>() {
                Ok(Reference::Layout { path, at }) => {
                    format!("layout {} {}", path.display(), at.map(|a| a.to_string()).unwrap_or_default())
                }
                Ok(Reference::Registry { host, repository, at }) => {
                    format!("registry {host} {repository} {}", at.map(|a| a.to_string()).unwrap_or_default())
                }
                Err(_) => "no".to_owned(),
            };
            assert_eq!(said.trim(), shape, "{text}");
            if shape != "no" {
                assert_eq!(text.parse::<Reference>().unwrap().to_string(), text, "shown as it was written");
            }
        };
        check("oci:images/app:v1", "layout images/app :v1");
        check("oci:/var/a:b/app", "layout /var/a:b/app");
        check(&format!("oci:x@{D}"), &format!("layout x @{D}"));
        check("localhost:5000/shop/checkout:v2", "registry localhost:5000 shop/checkout :v2");
        check("registry.example.com/a", "registry registry.example.com a");
        check("[::1]:5000/a:b", "registry [::1]:5000 a :b");
        check(&format!("127.0.0.1:5000/a@{D}"), &format!("registry 127.0.0.1:5000 a @{D}"));
        for no in [
            "",
            "oci:",
            "oci::v1",
            "nginx",
            "library/nginx",
            "a.b/A:v1",
            "a.b/../c",
            "a.b/c:",
            "a.b/c:.x",
            "a.b/c@sha256:00",
            "a.b:0/c",
            "a.b/c//d",
            "a.b/c d",
        ] {
            check(no, "no");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in ".{0,300}") {
            let _ = text.parse::<Reference>();
            let _ = text.parse::<Tag>();
        }
    }
}
