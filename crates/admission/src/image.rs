//! Names of images as pods write them, and as everybody else has to read them.

use std::fmt;

use model::Digest;

use crate::limits;

/// The registry that a name without a host means.
const HUB: &str = "docker.io";
/// How sigstore's tools name it.
const HUB_INDEX: &str = "index.docker.io";

/// The name of an image, with what a short name leaves out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageName {
    /// Host, with its port when there is one.
    pub registry: String,
    /// The repository.
    pub repository: String,
    /// The tag; `latest` when neither tag nor digest is written.
    pub tag: Option<String>,
    /// The digest.
    pub digest: Option<Digest>,
    written: String,
}

/// Not a name of an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadImage {
    /// Nothing, or too much.
    #[error("the name of an image has 1 to {} characters", limits::IMAGE_NAME)]
    Length,
    /// Letters that are in no name.
    #[error("{0:?} is no name of an image: {1}")]
    Form(String, &'static str),
    /// Another digest than SHA-256.
    #[error("{0:?}: after @ comes sha256: and 64 lower-case hexadecimal digits; other digests are not verified here")]
    Digest(String),
}

impl ImageName {
    /// Reads a name by the rules of container runtimes: no host means Docker Hub, one word there is in `library/`.
    pub fn parse(text: &str) -> Result<Self, BadImage> {
        if text.is_empty() || text.len() > limits::IMAGE_NAME {
            return Err(BadImage::Length);
        }
        let form = |why| BadImage::Form(text.chars().take(120).collect(), why);
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(form("it has spaces, control characters or letters beyond ASCII"));
        }
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => {
                let digest =
                    digest.parse::<Digest>().map_err(|_| BadImage::Digest(text.chars().take(200).collect()))?;
                (name, Some(digest))
            }
            None => (text, None),
        };
        // A tag comes after the last colon that no slash follows.
        let (name, tag) = match name.rsplit_once(':') {
            Some((rest, tag)) if !tag.contains('/') => {
                if !is_tag(tag) {
                    return Err(form("a tag is 1 to 128 letters, digits, _ . -, and does not begin with . or -"));
                }
                (rest, Some(tag.to_owned()))
            }
            _ => (name, None),
        };
        let (registry, repository) = match name.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (first, rest.to_owned()),
            _ => (HUB, name.to_owned()),
        };
        let registry = if registry == HUB_INDEX { HUB } else { registry };
        let repository =
            if registry == HUB && !repository.contains('/') { format!("library/{repository}") } else { repository };
        if !is_host(registry) {
            return Err(form("its host is none"));
        }
        if !is_repository(&repository) || registry.len() + repository.len() > 255 {
            return Err(form("a repository is made of lower-case letters, digits and . _ - between slashes"));
        }
        let tag = if tag.is_none() && digest.is_none() { Some("latest".to_owned()) } else { tag };
        Ok(Self { registry: registry.to_owned(), repository, tag, digest, written: text.to_owned() })
    }

    /// As it was written.
    pub fn written(&self) -> &str {
        &self.written
    }

    /// Host and repository.
    pub fn place(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The same image, named by this digest. The tag stays, for people: runtimes look at the digest alone.
    pub fn pinned(&self, digest: &Digest) -> String {
        let tag = self.tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
        format!("{}{tag}@{digest}", self.place())
    }

    /// The names that a glob may match: in full as sigstore's tools write it, with Docker Hub's usual name, and as written.
    pub(crate) fn names(&self) -> Vec<String> {
        let end = match (&self.digest, &self.tag) {
            (Some(digest), _) => format!("@{digest}"),
            (None, Some(tag)) => format!(":{tag}"),
            (None, None) => String::new(),
        };
        let mut names = vec![format!("{}{end}", self.place()), self.written.clone()];
        if self.registry == HUB {
            names.push(format!("{HUB_INDEX}/{}{end}", self.repository));
        }
        names
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place())?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

fn is_tag(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    (1..=128).contains(&text.len()) && text.bytes().all(inner) && !text.starts_with(['.', '-'])
}

fn is_host(text: &str) -> bool {
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (text, None),
    };
    let v6 = name.strip_prefix('[').and_then(|n| n.strip_suffix(']'));
    let good = match v6 {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !name.is_empty()
                && !name.starts_with(['.', '-'])
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'))
        }
    };
    good && port.is_none_or(|p| p.bytes().all(|b| b.is_ascii_digit()) && p.parse::<u16>().is_ok_and(|p| p > 0))
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*` between slashes.
fn is_repository(text: &str) -> bool {
    let part = |part: &str| {
        let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        edge(part.bytes().next())
            && edge(part.bytes().last())
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'))
            && !part.contains("..")
            && !part.contains("___")
    };
    !text.is_empty() && text.split('/').all(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    const D: &str = "sha256:4f2c4f2c4f2c4f2c4f2c4f2c4f2c4f2c4f2c4f2c4f2c4f2c4f2c4f2c4f2c4f2c";

    #[test]
    fn names_are_read_as_runtimes_read_them() {
        let check = |text: &str, full: &str| {
            let said = ImageName::parse(text).map_or_else(|_| "no".to_owned(), |name| name.to_string());
            assert_eq!(said, full, "{text}");
        };
        check("nginx", "docker.io/library/nginx:latest");
        check("nginx:1.27", "docker.io/library/nginx:1.27");
        check("acme/app", "docker.io/acme/app:latest");
        check("index.docker.io/acme/app:v1", "docker.io/acme/app:v1");
        check("docker.io/nginx", "docker.io/library/nginx:latest");
        check("localhost/app:v1", "localhost/app:v1");
        check("127.0.0.1:5000/shop/checkout:v2", "127.0.0.1:5000/shop/checkout:v2");
        check("[::1]:5000/a:b", "[::1]:5000/a:b");
        check(&format!("r.example/a@{D}"), &format!("r.example/a@{D}"));
        check(&format!("r.example/a:v1@{D}"), &format!("r.example/a:v1@{D}"));
        let sha512 = format!("r.example/a@sha512:{}", "0".repeat(128));
        let two = format!("r.example/a@{D}@{D}");
        let upper = format!("r.example/a@{}", D.to_uppercase());
        let long = "a".repeat(500);
        for no in [
            "",
            " ",
            "a b",
            "r.example/A",
            "r.example/",
            "/a",
            "a:",
            "a:.x",
            "r.example:0/a",
            "r.example/a//b",
            "r.example/../a",
            "r.example/a@",
            "r.example/a@sha256:00",
            &sha512,
            &two,
            &upper,
            &long,
            "é",
            "a\nb",
        ] {
            check(no, "no");
        }
    }

    #[test]
    fn a_pinned_name_is_the_same_image_by_digest() {
        let digest: Digest = D.parse().unwrap();
        for name in ["nginx", "r.example/a:v1", "acme/app:2"] {
            let name = ImageName::parse(name).unwrap();
            let pinned = ImageName::parse(&name.pinned(&digest)).unwrap();
            assert_eq!((pinned.place(), &pinned.tag, &pinned.digest), (name.place(), &name.tag, &Some(digest.clone())));
        }
    }
}
