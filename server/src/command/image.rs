//! `deliveryos image`: makes an image from a program, and shows what is in a place.

use std::{collections::BTreeMap, process::ExitCode};

use anyhow::Context as _;
use registry::{
    At, Layout, Reference, Tag,
    graph::{Graph, Role},
    image::{Recipe, build},
};
use serde_json::json;

use super::{place, print};
use crate::{
    args::{Global, ImageVerb},
    exit::WrongUse,
};

pub(crate) async fn run(global: &Global, verb: ImageVerb) -> anyhow::Result<ExitCode> {
    match verb {
        ImageVerb::Build { destination, program, path, label, arguments } => {
            let Reference::Layout { path: folder, at: Some(At::Tag(tag)) } = &destination else {
                return Err(WrongUse("an image is made in a layout, under a tag: oci:FOLDER:TAG".to_owned()).into());
            };
            let name = program.file_name().context("the program has no name")?.to_string_lossy().into_owned();
            let recipe = Recipe {
                path: path.unwrap_or_else(|| format!("app/{name}")),
                program,
                arguments,
                labels: label.into_iter().collect::<BTreeMap<_, _>>(),
            };
            let layout = Layout::create(folder).await.map_err(place::refusal)?;
            let built = build(&layout, &recipe, tag).await.map_err(place::refusal)?;
            if global.json {
                print::json(&built)?;
            } else {
                print::line(&format!(
                    "{}\n  layer   {} ({} bytes)\n  program {}",
                    built.digest, built.layer, built.layer_size, built.program
                ))?;
            }
        }
        ImageVerb::Show { image, plain_http } => {
            let opened = place::open(&image, false, plain_http).await?;
            let root = opened.manifest(&place::at(&image).await?).await.map_err(place::refusal)?;
            let graph = Graph::read(&*opened, root).await.map_err(place::refusal)?;
            show(global, &graph)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show(global: &Global, graph: &Graph) -> anyhow::Result<()> {
    let role = |role: &Role| match role {
        Role::Root => ("image", None, None),
        Role::Child(of) => ("child", Some(of.to_string()), None),
        Role::Evidence(of) => ("evidence", Some(of.to_string()), None),
        Role::Sidecar(of, tag) => ("evidence", Some(of.to_string()), Some(Tag::to_string(tag))),
    };
    let layers = graph.blobs().len();
    let bytes: u64 = graph.blobs().iter().map(|blob| blob.size).sum();
    if global.json {
        let nodes: Vec<_> = graph
            .nodes
            .iter()
            .map(|node| {
                let (role, of, tag) = role(&node.role);
                let own = &node.fetched.descriptor;
                let kind = node.manifest.kind();
                json!({ "digest": own.digest, "size": own.size, "role": role, "of": of, "tag": tag, "type": kind })
            })
            .collect();
        return print::json(&json!({
            "digest": graph.root.digest, "blobs": layers, "bytes": bytes, "manifests": nodes, "notes": graph.notes,
        }));
    }
    print::line(&format!("{}\n  {layers} blobs, {bytes} bytes", graph.root.digest))?;
    let row = |node: &registry::graph::Node| {
        let (role, of, _) = role(&node.role);
        let of = of.map(|of| format!("of {of}")).unwrap_or_default();
        vec![role.to_owned(), node.fetched.descriptor.digest.to_string(), node.manifest.kind().to_owned(), of]
    };
    print::table(&["role", "manifest", "type", ""], &graph.nodes.iter().map(row).collect::<Vec<_>>())?;
    graph.notes.iter().try_for_each(|note| print::line(&format!("not evidence: {note}")))
}
