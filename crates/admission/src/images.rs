//! Which images an object would run, each with its place; and what in it is in doubt.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{GroupKind, limits};

/// An image that an object would run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageUse {
    /// Its place in the object, a JSON pointer (RFC 6901).
    pub place: String,
    /// What uses it, in words: `container "app"`, `volume "data"`.
    pub by: String,
    /// The name as written.
    pub image: String,
}

/// Something in an object that is not understood: reason enough to refuse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// Not an operation that admits anything.
    #[error("{0} is no operation that this webhook judges: its configuration lists CREATE and UPDATE")]
    Operation(&'static str),
    /// A kind without a known pod template.
    #[error("{0} is no kind whose pods are known here")]
    Kind(GroupKind),
    /// The object calls itself something else than the review does.
    #[error("the review is about a {asked}, and the object calls itself {found:?}")]
    OtherKind {
        /// The review's.
        asked: GroupKind,
        /// The object's.
        found: String,
    },
    /// There is no object, or no pod template in it.
    #[error("{0} is missing or not an object")]
    Missing(String),
    /// A part has not the form that Kubernetes gives it.
    #[error("{place} is {found} and not {wanted}")]
    Form {
        /// Its place.
        place: String,
        /// What there is.
        found: &'static str,
        /// What is expected.
        wanted: &'static str,
    },
    /// A container or image volume without an image.
    #[error("{0} names no image")]
    NoImage(String),
    /// A field that seems to name an image and is not one that is known.
    #[error("{0} seems to name an image and is no field that is known here")]
    UnknownField(String),
    /// There is no image at all.
    #[error("there is no container and so nothing to judge")]
    Nothing,
    /// More than an object may have.
    #[error("the object has more than {0} images")]
    TooMany(usize),
}

/// What was found in an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) uses: Vec<ImageUse>,
    pub(crate) doubts: Vec<Doubt>,
}

/// Lists of containers in a pod spec. `containers` must be there and must not be empty.
const CONTAINERS: [(&str, &str); 3] =
    [("initContainers", "init container"), ("containers", "container"), ("ephemeralContainers", "ephemeral container")];

/// Where the pod spec is, below the object, by group and kind.
fn pod_spec(kind: &GroupKind) -> Option<&'static [&'static str]> {
    Some(match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Pod") => &["spec"],
        ("", "PodTemplate") => &["template", "spec"],
        ("", "ReplicationController") | ("apps", "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet") => {
            &["spec", "template", "spec"]
        }
        ("batch", "Job") => &["spec", "template", "spec"],
        ("batch", "CronJob") => &["spec", "jobTemplate", "spec", "template", "spec"],
        _ => return None,
    })
}

/// The images of an object of this kind.
pub(crate) fn find(kind: &GroupKind, object: &Value) -> Found {
    let mut found = Found::default();
    let Some(path) = pod_spec(kind).filter(|_| kind.version == "v1") else {
        found.doubt(Doubt::Kind(kind.clone()));
        return found;
    };
    let wanted = if kind.group.is_empty() { kind.version.clone() } else { format!("{}/{}", kind.group, kind.version) };
    let said = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
    if said("apiVersion") != wanted || said("kind") != kind.kind {
        let calls = format!("{} {}", said("apiVersion"), said("kind")).chars().take(120).collect();
        found.doubt(Doubt::OtherKind { asked: kind.clone(), found: calls });
        return found;
    }
    let spec = path.iter().try_fold(object, |value, key| value.get(key)).filter(|spec| spec.is_object());
    let Some(spec) = spec else {
        found.doubt(Doubt::Missing(format!("/{}", path.join("/"))));
        return found;
    };
    let base = format!("/{}", path.join("/"));
    let mut known = BTreeSet::new();
    found.containers(spec, &base, &mut known);
    found.volumes(spec, &base, &mut known);
    if found.uses.is_empty() && found.doubts.is_empty() {
        found.doubt(Doubt::Nothing);
    }
    // The whole object, so that what stands beside the pod template is seen too; what an object says of itself runs nothing.
    let own = |key: &str| matches!(key, "apiVersion" | "kind" | "metadata" | "status");
    for (key, value) in object.as_object().into_iter().flatten().filter(|(key, _)| !own(key)) {
        found.member(key, value, &mut String::new(), &known);
    }
    found
}

impl Found {
    fn doubt(&mut self, doubt: Doubt) {
        if self.doubts.len() < limits::DOUBTS {
            self.doubts.push(doubt);
        }
    }

    fn uses(&mut self, place: String, by: String, image: &Value, known: &mut BTreeSet<String>) {
        known.insert(place.clone());
        match image.as_str() {
            Some(text) if !text.is_empty() => {
                if self.uses.len() >= limits::IMAGES {
                    if !self.doubts.contains(&Doubt::TooMany(limits::IMAGES)) {
                        self.doubt(Doubt::TooMany(limits::IMAGES));
                    }
                    return;
                }
                self.uses.push(ImageUse { place, by, image: text.to_owned() });
            }
            Some(_) => self.doubt(Doubt::NoImage(by)),
            None => self.doubt(Doubt::Form { place, found: what(image), wanted: "a text" }),
        }
    }

    fn containers(&mut self, spec: &Value, base: &str, known: &mut BTreeSet<String>) {
        for (list, word) in CONTAINERS {
            let place = format!("{base}/{list}");
            let containers = match spec.get(list) {
                Some(Value::Array(containers)) => containers,
                None | Some(Value::Null) => {
                    if list == "containers" {
                        self.doubt(Doubt::Missing(place));
                    }
                    continue;
                }
                Some(other) => {
                    self.doubt(Doubt::Form { place, found: what(other), wanted: "a list" });
                    continue;
                }
            };
            if list == "containers" && containers.is_empty() {
                self.doubt(Doubt::Nothing);
            }
            for (index, container) in containers.iter().enumerate() {
                let place = format!("{place}/{index}");
                let by = named(word, container, index);
                match container {
                    Value::Object(fields) => match fields.get("image") {
                        Some(image) => self.uses(format!("{place}/image"), by, image, known),
                        None => self.doubt(Doubt::NoImage(by)),
                    },
                    other => self.doubt(Doubt::Form { place, found: what(other), wanted: "a container" }),
                }
            }
        }
    }

    fn volumes(&mut self, spec: &Value, base: &str, known: &mut BTreeSet<String>) {
        let place = format!("{base}/volumes");
        let volumes = match spec.get("volumes") {
            None | Some(Value::Null) => return,
            Some(Value::Array(volumes)) => volumes,
            Some(other) => return self.doubt(Doubt::Form { place, found: what(other), wanted: "a list" }),
        };
        for (index, volume) in volumes.iter().enumerate() {
            let place = format!("{place}/{index}");
            let Value::Object(fields) = volume else {
                self.doubt(Doubt::Form { place, found: what(volume), wanted: "a volume" });
                continue;
            };
            // The name of a block device at a Ceph cluster, which is no container image.
            if fields.get("rbd").and_then(|rbd| rbd.get("image")).is_some_and(Value::is_string) {
                known.insert(format!("{place}/rbd/image"));
            }
            let by = named("image volume", volume, index);
            match fields.get("image") {
                None | Some(Value::Null) => {}
                Some(Value::Object(image)) => {
                    known.insert(format!("{place}/image"));
                    match image.get("reference") {
                        Some(reference) => self.uses(format!("{place}/image/reference"), by, reference, known),
                        None => self.doubt(Doubt::NoImage(by)),
                    }
                }
                Some(other) => {
                    self.doubt(Doubt::Form {
                        place: format!("{place}/image"),
                        found: what(other),
                        wanted: "an object",
                    });
                }
            }
        }
    }

    /// A field, by its name and by what is in it.
    fn member(&mut self, key: &str, value: &Value, place: &mut String, known: &BTreeSet<String>) {
        if value.is_null() {
            return;
        }
        let length = place.len();
        place.push('/');
        place.push_str(&escaped(key));
        if names_an_image(key) && !known.contains(place.as_str()) {
            self.doubt(Doubt::UnknownField(place.chars().take(200).collect()));
        }
        self.strangers(value, place, known);
        place.truncate(length);
    }

    /// Fields that seem to name an image and are not among the known ones.
    fn strangers(&mut self, value: &Value, place: &mut String, known: &BTreeSet<String>) {
        let length = place.len();
        match value {
            Value::Object(fields) => {
                if is_free(place) && fields.values().all(|v| !v.is_object() && !v.is_array()) {
                    return;
                }
                for (key, value) in fields {
                    self.member(key, value, place, known);
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    place.push('/');
                    place.push_str(&index.to_string());
                    self.strangers(item, place, known);
                    place.truncate(length);
                }
            }
            _ => {}
        }
    }
}

/// Maps whose keys people choose (labels, annotations, selectors, quantities), where Kubernetes has them: the same name elsewhere is none.
fn is_free(place: &str) -> bool {
    let mut ends = place.rsplit('/');
    match (ends.next().unwrap_or_default(), ends.next().unwrap_or_default()) {
        ("labels" | "annotations", parent) => parent == "metadata",
        ("matchLabels", parent) => parent.to_ascii_lowercase().ends_with("selector"),
        ("limits" | "requests", parent) => parent == "resources",
        ("nodeSelector" | "overhead" | "selector", parent) => parent == "spec",
        _ => false,
    }
}

/// Whether a field of this name may make a node fetch an image. Case does not matter: some readers of JSON do not look at it.
fn names_an_image(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let whole = [
        "images",
        "imageref",
        "imagereference",
        "imagename",
        "imageuri",
        "imageurl",
        "imagesource",
        "imagedigest",
        "reference",
        "ociref",
        "ocireference",
        "artifact",
        "artifacts",
    ];
    key.ends_with("image") || whole.contains(&key.as_str())
}

fn named(word: &str, of: &Value, index: usize) -> String {
    match of.get("name").and_then(Value::as_str).filter(|name| !name.is_empty()) {
        Some(name) => format!("{word} {:?}", name.chars().take(80).collect::<String>()),
        None => format!("{word} {index}"),
    }
}

fn what(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A key in a JSON pointer.
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}
