//! What the demo runs is the program in its versions' images, and nothing else.
#![cfg(target_os = "linux")] // processes are looked at in /proc

use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use crate::process::{Running, deliveryos, free, run, until};

/// A process that was started out of an image.
struct Version {
    file: PathBuf,
    arguments: Vec<String>,
    environment: Vec<String>,
    /// The file that really runs.
    executable: PathBuf,
}

fn versions(run: &Path) -> Vec<Version> {
    let words = |bytes: Vec<u8>| {
        let words = bytes.split(|byte| *byte == 0).filter(|word| !word.is_empty());
        words.map(|word| String::from_utf8_lossy(word).into_owned()).collect::<Vec<_>>()
    };
    let one = |process: PathBuf| {
        let mut line = words(std::fs::read(process.join("cmdline")).ok()?).into_iter();
        let file = line.next().map(PathBuf::from).filter(|file| file.starts_with(run))?;
        let environment = words(std::fs::read(process.join("environ")).ok()?);
        Some(Version {
            file,
            arguments: line.collect(),
            environment,
            executable: process.join("exe").read_link().ok()?,
        })
    };
    std::fs::read_dir("/proc").unwrap().filter_map(|entry| one(entry.ok()?.path())).collect()
}

#[test]
fn the_program_out_of_the_image_is_what_runs() {
    let directory = tempfile::tempdir().unwrap();
    // As /proc names it.
    let data = &directory.path().canonicalize().unwrap();
    let recipe = data.join("quick.yaml");
    std::fs::write(&recipe, include_str!("../../src/demo/quick.yaml")).unwrap();
    let [listen, traffic] = free().map(|address| address.to_string());
    let recipe = recipe.display().to_string();
    let line = ["demo", "--no-history", "--recipe", &recipe, "--speed", "1", "--rate", "20"];
    let mut command = deliveryos(data);
    command.args(line).args(["--listen", &listen, "--traffic", &traffic]);
    let mut demo = Running::start(command);
    let images = data.join("images");
    // v1 serves; v2 comes beside it out of an image that was promoted.
    let both = until("two versions", || {
        let found = versions(&images.join("run"));
        (found.len() == 2 && found.iter().all(|version| !version.environment.is_empty())).then_some(found)
    });
    for version in &both {
        assert_eq!(version.executable, version.file, "no shell, no other program");
        assert!(!version.environment.iter().any(|pair| pair.starts_with("DELIVERYOS=")), "{:?}", version.environment);
    }
    let has =
        |label: &str| both.iter().any(|version| version.arguments.windows(2).any(|two| two == ["--version", label]));
    assert!(has("v1") && has("v2"), "{:?}", both.iter().map(|version| &version.arguments).collect::<Vec<_>>());
    let [one, other] = [&both[0].file, &both[1].file].map(|file| std::fs::metadata(file).unwrap().ino());
    assert_eq!(one, other, "one program for both");
    let beside = Path::new(env!("CARGO_BIN_EXE_deliveryos")).with_file_name("demo-service");
    let small = beside.is_file();
    for version in &both {
        assert_eq!(version.arguments.first().map(String::as_str) == Some("demo-service"), !small);
    }
    if small {
        assert!(
            std::fs::read(beside).unwrap() == std::fs::read(&both[0].file).unwrap(),
            "it is the one that was built"
        );
    }
    let promoted = format!("oci:{}:v2", images.join("production/checkout").display());
    let (code, out, err) = run(data, &["image", "show", &promoted]);
    assert!(code == 0 && out.matches("evidence").count() == 3, "{out}{err}");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(demo.0.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(demo.0.wait().unwrap().code(), Some(0));
    until("its versions to end with it", || versions(&images.join("run")).is_empty().then_some(()));
}
