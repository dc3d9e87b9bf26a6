//! The program in the demo's images.

use std::path::{Path, PathBuf};

/// Its name beside this executable.
const BESIDE: &str = "demo-service";

/// What the images are made from, and the arguments by which it is the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Program {
    /// The file.
    pub(super) file: PathBuf,
    /// The arguments before those of a version.
    pub(super) first: Vec<String>,
}

impl Program {
    /// The service that was built beside this executable; where there is none, this executable, which is the service as well.
    pub(super) fn find(own: &Path) -> Self {
        let beside = own.with_file_name(BESIDE);
        if beside.is_file() {
            Self { file: beside, first: Vec::new() }
        } else {
            Self { file: own.to_owned(), first: vec![BESIDE.to_owned()] }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use demo::arguments::{Asked, read};

    use super::*;
    use crate::{
        args::{Args, Fault, Verb},
        command::demo_service::behaviour,
        demo::Manifest,
    };

    #[test]
    fn the_service_beside_this_executable_else_the_executable() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("deliveryos");
        let alone = Program { file: own.clone(), first: vec!["demo-service".to_owned()] };
        assert_eq!(Program::find(&own), alone);
        std::fs::create_dir(folder.path().join("demo-service")).unwrap();
        assert_eq!(Program::find(&own), alone, "a folder is no program");
        std::fs::remove_dir(folder.path().join("demo-service")).unwrap();
        std::fs::write(folder.path().join("demo-service"), "").unwrap();
        assert_eq!(Program::find(&own), Program { file: folder.path().join("demo-service"), first: Vec::new() });
    }

    /// Whichever of the two is in an image: a version behaves the same.
    #[test]
    fn both_programs_understand_a_line_alike() {
        let versions =
            [Fault::None, Fault::Latency, Fault::Errors].map(|fault| Manifest::new(3, fault).arguments().unwrap());
        let mut lines = versions.to_vec();
        lines.push(Vec::new());
        lines.push(vec!["--sigma=1".to_owned()]);
        for mut line in lines {
            line.extend(["--port", "80"].map(str::to_owned));
            let small = read(line.iter().map(Into::into), u64::from(std::process::id())).unwrap();
            let whole = ["deliveryos", "demo-service"].map(str::to_owned).into_iter().chain(line.clone());
            let Verb::DemoService(options) = Args::try_parse_from(whole).unwrap().verb else { panic!("{line:?}") };
            assert_eq!(small, Asked::Service { port: options.port, behaviour: behaviour(&options) }, "{line:?}");
        }
        for line in ["", "--port x", "--port 1 --port 2", "--port 1 --version a/b", "--port 1 --sigma x", "--port 1 a"]
        {
            let words = || line.split_whitespace();
            assert!(read(words().map(Into::into), 0).is_err(), "{line}");
            assert!(Args::try_parse_from(["deliveryos", "demo-service"].into_iter().chain(words())).is_err(), "{line}");
        }
    }
}
