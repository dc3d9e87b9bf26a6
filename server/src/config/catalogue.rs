//! What the configuration says of services, as the controller asks for it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::SystemTime,
};

use anyhow::Context as _;
use controller::{Catalogue, CounterSource, Workload, WorkloadSource};
use model::{Digest, Environment, ServiceId, Version};

use super::{Config, JudgeConfig, ServiceConfig, VersionConfig, process_digest};
use crate::{
    exit::{Refusal, WrongUse},
    policy::ServicePolicy,
};

/// The services of a configuration, with the identity of each version. New versions come with a new file: it is read again when a
/// release is started and the file has changed, so that the server need not be restarted.
pub struct ConfigCatalogue {
    file: Option<PathBuf>,
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    modified: Option<SystemTime>,
    services: BTreeMap<ServiceId, Known>,
}

struct Known {
    environment: Environment,
    policy: Option<Arc<ServicePolicy>>,
    counters: Option<CounterSource>,
    stable: Version,
    versions: BTreeMap<Version, Workload>,
}

impl ConfigCatalogue {
    /// From a configuration, which came from `file`. Reads every program to find its identity.
    pub fn new(config: &Config, file: Option<PathBuf>) -> anyhow::Result<Self> {
        let modified = file.as_deref().and_then(modified);
        Ok(Self { file, state: RwLock::new(State { modified, services: known(&config.services)? }) })
    }

    /// A version that a release may be started with. Reads the file again when it has changed.
    pub fn version(&self, service: &ServiceId, version: &Version) -> anyhow::Result<(Environment, Workload)> {
        self.refresh()?;
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let no = |what: String| anyhow::Error::from(Refusal(what));
        let known = state.services.get(service).ok_or_else(|| {
            no(format!("there is no service {service}: add [services.{service}] to the configuration"))
        })?;
        let workload = known.versions.get(version).ok_or_else(|| {
            no(format!("{service} has no version {version}: add [services.{service}.versions.\"{version}\"] to the configuration"))
        })?;
        Ok((known.environment.clone(), workload.clone()))
    }

    /// Whether there is such a service.
    pub fn knows(&self, service: &ServiceId) -> bool {
        self.state.read().unwrap_or_else(PoisonError::into_inner).services.contains_key(service)
    }

    /// What a release of this service needs.
    pub fn policy(&self, service: &ServiceId) -> Option<Arc<ServicePolicy>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).services.get(service)?.policy.clone()
    }

    /// Adds a version while running.
    pub fn add(&self, service: &ServiceId, label: Version, version: &VersionConfig) -> anyhow::Result<()> {
        let workload = workload(&label, version)?;
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let known = state.services.get_mut(service).with_context(|| format!("there is no service {service}"))?;
        known.versions.insert(label, workload);
        Ok(())
    }

    fn refresh(&self) -> anyhow::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let modified = modified(file);
        if self.state.read().unwrap_or_else(PoisonError::into_inner).modified == modified {
            return Ok(());
        }
        // What was good before stays in force when the new file is not.
        let services = known(&Config::read(file)?.services)?;
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        // Services that are new need a restart: their addresses belong to the data plane, which is told at start.
        for (name, fresh) in services {
            if let Some(known) = state.services.get_mut(&name) {
                (known.versions, known.policy) = (fresh.versions, fresh.policy);
            }
        }
        state.modified = modified;
        Ok(())
    }
}

impl Catalogue for ConfigCatalogue {
    fn services(&self) -> Vec<(ServiceId, Workload)> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let stable =
            |(name, known): (&ServiceId, &Known)| Some((name.clone(), known.versions.get(&known.stable)?.clone()));
        state.services.iter().filter_map(stable).collect()
    }

    fn workload(&self, service: &ServiceId, version: &Version, digest: &Digest) -> Option<Workload> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let found = state.services.get(service)?.versions.get(version)?;
        // The label is what people say, the digest is what runs: another program under the same label is another version.
        (found.digest == *digest).then(|| found.clone())
    }

    fn counters(&self, service: &ServiceId) -> Option<CounterSource> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).services.get(service)?.counters.clone()
    }
}

fn modified(file: &Path) -> Option<SystemTime> {
    std::fs::metadata(file).and_then(|meta| meta.modified()).ok()
}

fn known(services: &BTreeMap<ServiceId, ServiceConfig>) -> anyhow::Result<BTreeMap<ServiceId, Known>> {
    services
        .iter()
        .map(|(name, service)| {
            let versions = service
                .versions
                .iter()
                .map(|(label, version)| {
                    let workload =
                        workload(label, version).with_context(|| format!("services.{name}.versions.{label}"))?;
                    Ok((label.clone(), workload))
                })
                .collect::<anyhow::Result<_>>()?;
            let policy = service.policy.as_ref().map(|policy| ServicePolicy::read(policy, name)).transpose()?;
            let known = Known {
                environment: service.environment.clone(),
                policy: policy.map(Arc::new),
                counters: service.judge.as_ref().map(JudgeConfig::source),
                stable: service.stable.clone(),
                versions,
            };
            Ok((name.clone(), known))
        })
        .collect()
}

fn workload(label: &Version, version: &VersionConfig) -> anyhow::Result<Workload> {
    let (source, computed) = match (&version.command, &version.url) {
        (Some(command), _) => {
            let source = WorkloadSource::Process {
                command: command.clone(),
                env: version.env.clone(),
                health_path: version.health_path.clone().unwrap_or_else(|| "/".to_owned()),
            };
            let computed = match &version.digest {
                Some(_) => None,
                None => Some(process_digest(command, &version.env).map_err(|error| WrongUse(error.to_string()))?),
            };
            (source, computed)
        }
        (None, Some(url)) => (WorkloadSource::Url { url: url.clone(), health_path: version.health_path.clone() }, None),
        (None, None) => anyhow::bail!(WrongUse("a command or a url".to_owned())),
    };
    let digest = version.digest.clone().or(computed).ok_or_else(|| WrongUse("a url needs a digest".to_owned()))?;
    Ok(Workload { version: label.clone(), digest, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_brings_new_versions() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("deliveryos.toml");
        let text = "[services.checkout]\nlisten = [\"127.0.0.1:0\"]\nstable = \"v1\"\n[services.checkout.versions.v1]\ncommand = [\"/bin/sh\"]\n";
        std::fs::write(&file, text).unwrap();
        let catalogue = ConfigCatalogue::new(&Config::read(&file).unwrap(), Some(file.clone())).unwrap();
        let (service, v1, v2) = ("checkout".parse().unwrap(), "v1".parse().unwrap(), "v2".parse::<Version>().unwrap());
        let (_, first) = catalogue.version(&service, &v1).unwrap();
        assert_eq!(catalogue.services(), vec![(service.clone(), first.clone())]);
        assert_eq!(catalogue.workload(&service, &v1, &first.digest), Some(first.clone()));
        assert_eq!(catalogue.workload(&service, &v1, &Digest::from_sha256(&[0; 32])), None, "another program");
        let missing = catalogue.version(&service, &v2).unwrap_err();
        assert_eq!(crate::exit::code(&missing), crate::exit::REFUSED);

        std::fs::write(&file, format!("{text}[services.checkout.versions.v2]\ncommand = [\"/bin/cat\"]\n")).unwrap();
        let later = SystemTime::now() + std::time::Duration::from_secs(2);
        std::fs::File::options().write(true).open(&file).unwrap().set_modified(later).unwrap();
        assert_ne!(catalogue.version(&service, &v2).unwrap().1.digest, first.digest);

        std::fs::write(&file, "nonsense").unwrap();
        let later = later + std::time::Duration::from_secs(2);
        std::fs::File::options().write(true).open(&file).unwrap().set_modified(later).unwrap();
        assert!(catalogue.version(&service, &v1).is_err(), "said, not ignored");
        assert!(catalogue.workload(&service, &v1, &first.digest).is_some(), "what was good stays");
    }
}
