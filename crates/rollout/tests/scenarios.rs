//! Golden scenarios: `tests/scenarios/NAME.txt` is played, what happens is compared with `NAME.out`.
//!
//! `UPDATE_GOLDEN=1 cargo test -p rollout --test scenarios` writes the `.out` files; read the difference before committing it.
//!
//! ```text
//! recipe FILE              under tests/scenarios/ or examples/
//! release [with-envelope-acts] [again] [unsigned]
//! ready | unready | gone   the canary's process
//! ends HOW                 the canary's process ends by itself and is started again: unready until said otherwise
//! word VERDICT [TEXT]      what the built-in judge says from now on; `word none`; `word certified`: Successful, and certified
//! tick 5m                  time passes, the controller runs whenever it wants to
//! measure METRIC JSON      the measurement that was asked for answers
//! fail METRIC TEXT         it does not
//! signing off | on         whether the envelope can be signed
//! plane restart | off | on | dead-man
//! crash                    the controller's memory is gone
//! promote | promote-full | pause | resume | abort | retry | rollback [REASON]
//! buttons                  what a person could do
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that cannot go on says so by failing

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use model::{Actor, CommandKind, Digest, Epoch, Timestamp, Verdict, Weight};
use rollout::{
    Action, Builtin, Observed, ObservedVersion, ProcessEnd, Recipe, Start, Status, StopPart, Transition, VersionRef,
    assess, available_commands, decide, plan,
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios")
}

#[test]
fn scenarios() {
    let mut scripts: Vec<PathBuf> = fs::read_dir(folder())
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "txt"))
        .collect();
    scripts.sort();
    assert!(!scripts.is_empty());
    let mut different = Vec::new();
    for script in scripts {
        let got = Scene::play(&fs::read_to_string(&script).unwrap());
        let golden = script.with_extension("out");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, &got).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        if got != expected {
            let line = got
                .lines()
                .zip(expected.lines())
                .position(|(a, b)| a != b)
                .unwrap_or_else(|| got.lines().count().min(expected.lines().count()));
            let at = |text: &str| text.lines().nth(line).unwrap_or("(end)").to_owned();
            different.push(format!(
                "{} line {}:\n  expected {}\n  got      {}",
                golden.display(),
                line + 1,
                at(&expected),
                at(&got)
            ));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

struct Scene {
    recipe: Recipe,
    status: Status,
    log: Vec<Transition>,
    begun: Timestamp,
    now: Timestamp,
    out: String,
    stable: VersionRef,
    canary: Option<(VersionRef, bool)>,
    ends: Vec<ProcessEnd>,
    weight: Weight,
    answers: Vec<(String, Timestamp, Weight)>,
    dead_man_at: Option<Timestamp>,
    reachable: bool,
    signing: bool,
    readiness: bool,
    word: Option<(Verdict, String)>,
    certified: bool,
    asked: Vec<(String, String, Timestamp)>,
}

fn version(n: u8) -> VersionRef {
    VersionRef { version: format!("v{n}").parse().unwrap(), digest: Digest::from_sha256(&[n; 32]) }
}

fn load(file: &str) -> Recipe {
    let here = folder().join(file);
    let path =
        if here.exists() { here } else { Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(file) };
    Recipe::load(&[(file, &fs::read(path).unwrap())]).unwrap_or_else(|r| panic!("{file}: {r:#?}"))
}

fn milliseconds(text: &str) -> i64 {
    let (number, unit) = text.split_at(text.find(|c: char| c.is_alphabetic()).unwrap());
    let number: f64 = number.parse().unwrap();
    (number
        * match unit {
            "ms" => 1.0,
            "s" => 1_000.0,
            "m" => 60_000.0,
            "h" => 3_600_000.0,
            _ => panic!("{text}"),
        }) as i64
}

impl Scene {
    fn play(script: &str) -> String {
        let mut lines = script.lines().filter(|l| !l.trim().is_empty() && !l.starts_with('#'));
        let recipe =
            load(lines.next().and_then(|l| l.strip_prefix("recipe ")).expect("the first line names the recipe"));
        let release = lines.next().unwrap();
        assert!(release.starts_with("release"), "{release}");
        let acts = release.contains("with-envelope-acts");
        let start = Start {
            release: "shop-1".parse().unwrap(),
            service: "shop".parse().unwrap(),
            canary: version(2),
            stable: version(1),
            recipe: version(9).digest,
            speed: 1.0,
            down_migration: acts.then(|| "orders-down".to_owned()),
            flags_off: if acts { vec!["new-cart".to_owned()] } else { Vec::new() },
            revisions_back: release.contains("again").then_some(1),
        };
        let now = Timestamp::from_millis(1_700_000_000_000);
        let (status, started) = Status::start(start, now);
        let mut scene = Self {
            recipe,
            status,
            log: vec![started],
            begun: now,
            now,
            out: String::new(),
            stable: version(1),
            canary: None,
            ends: Vec::new(),
            weight: Weight::ZERO,
            answers: Vec::new(),
            dead_man_at: None,
            reachable: true,
            signing: !release.contains("unsigned"),
            readiness: false,
            word: None,
            certified: false,
            asked: Vec::new(),
        };
        let _ = writeln!(scene.out, "> {release}");
        scene.control();
        for line in lines {
            let _ = writeln!(scene.out, "> {line}");
            scene.line(line);
            assert_eq!(Status::fold(&scene.log).unwrap(), scene.status, "after {line}");
        }
        scene.out
    }

    fn say(&mut self, what: &str) {
        let ms = self.now.since(self.begun);
        let _ = writeln!(self.out, "  {:>2}:{:02}.{:03} {what}", ms / 60_000, ms / 1_000 % 60, ms % 1_000);
    }

    fn line(&mut self, line: &str) {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (first, text) = rest.split_once(' ').unwrap_or((rest, ""));
        match verb {
            "ready" | "unready" => {
                self.readiness = verb == "ready";
                if let Some((_, ready)) = &mut self.canary {
                    *ready = self.readiness;
                }
            }
            "ends" => {
                self.readiness = false;
                if let Some((_, ready)) = &mut self.canary {
                    *ready = false;
                }
                self.ends.push(ProcessEnd { at: self.now, how: rest.to_owned() });
            }
            "gone" => (self.canary, self.weight) = (None, Weight::ZERO),
            "word" => {
                self.certified = first == "certified";
                self.word = match first {
                    "none" => None,
                    "Successful" | "certified" => Some((Verdict::Successful, text.to_owned())),
                    "Failed" => Some((Verdict::Failed, text.to_owned())),
                    "Inconclusive" => Some((Verdict::Inconclusive, text.to_owned())),
                    other => panic!("{other}"),
                }
            }
            "tick" => return self.tick(milliseconds(rest)),
            "measure" => self.measured(first, Ok(serde_json::from_str(text).unwrap())),
            "fail" => self.measured(first, Err(text.to_owned())),
            "signing" => self.signing = rest == "on",
            "plane" => match rest {
                "restart" => {
                    self.answers.clear();
                    self.weight = Weight::ZERO;
                }
                "dead-man" => (self.weight, self.dead_man_at) = (Weight::ZERO, Some(self.now)),
                "on" | "off" => self.reachable = rest == "on",
                other => panic!("{other}"),
            },
            "crash" => {
                self.status = Status::fold(&self.log).unwrap();
                self.asked.clear();
            }
            "buttons" => {
                for a in available_commands(&self.recipe, &self.status) {
                    let possible = a.possible.map_or_else(|why| format!("no: {why}"), |()| "yes".to_owned());
                    let _ = writeln!(self.out, "  {:<12} {possible}", a.command.to_string());
                }
                return;
            }
            command => {
                let command: CommandKind = command.parse().unwrap();
                let actor: Actor = "dana".parse().unwrap();
                match decide(&self.recipe, &self.status, command, &actor, rest, self.now) {
                    Ok(transitions) => transitions.iter().for_each(|t| self.record(t)),
                    Err(why) => self.say(&format!("refused: {why}")),
                }
            }
        }
        self.control();
    }

    fn measured(&mut self, metric: &str, answer: Result<serde_json::Value, String>) {
        let at =
            self.asked.iter().position(|(_, m, _)| m == metric).unwrap_or_else(|| panic!("{metric} was not asked for"));
        let (run, metric, begun) = self.asked.remove(at);
        let answer = answer.as_ref().map_err(String::as_str);
        match assess::measured(&self.recipe, &self.status, &run, &metric, begun, answer, self.now) {
            Some(transition) => self.record(&transition),
            None => self.say("dropped"),
        }
    }

    fn record(&mut self, transition: &Transition) {
        let text = serde_json::to_string(transition).unwrap();
        assert_eq!(serde_json::from_str::<Transition>(&text).unwrap(), *transition);
        let serde_json::Value::Object(mut fields) = serde_json::from_str(&text).unwrap() else { panic!() };
        let kind = fields.remove("type").unwrap();
        fields.remove("at");
        fields.remove("envelope");
        let begun = self.begun;
        let shown = fields.iter().map(|(k, v)| {
            let time = v.as_str().and_then(|v| v.parse::<Timestamp>().ok());
            match time {
                Some(t) => format!("{k}={}s", t.since(begun) / 1_000),
                None => format!("{k}={v}"),
            }
        });
        let shown: Vec<String> = shown.collect();
        self.say(&format!("{} {}", kind.as_str().unwrap(), shown.join(" ")));
        self.log.push(transition.clone());
        self.status.apply(transition);
    }

    fn observed(&self) -> Observed {
        let seen = |v: &VersionRef, ready, ends: &[ProcessEnd]| ObservedVersion {
            version: v.version.clone(),
            digest: v.digest.clone(),
            ready,
            in_flight: 0,
            ends: ends.to_vec(),
        };
        let word = |(verdict, message): &(Verdict, String)| Builtin {
            since: self.status.applied_at,
            at: self.now,
            verdict: *verdict,
            message: message.clone(),
            certified: self.certified,
        };
        Observed {
            at: self.now,
            reachable: self.reachable,
            weight: self.weight,
            epoch: Epoch(1),
            stable: Some(seen(&self.stable, true, &[])),
            canary: self.canary.as_ref().map(|(v, ready)| seen(v, *ready, &self.ends)),
            dead_man_at: self.dead_man_at,
            builtin: self.word.as_ref().filter(|_| self.status.builtin(&self.recipe).is_some()).map(word),
            measuring: self.asked.iter().map(|(r, m, _)| (r.clone(), m.clone())).collect(),
        }
    }

    fn tick(&mut self, ms: i64) {
        let end = self.now.plus_millis(ms);
        loop {
            let wake = plan(&self.recipe, &self.status, &self.observed(), self.now).wake_at();
            self.now = wake.filter(|w| *w > self.now && *w < end).unwrap_or(end);
            self.control();
            if self.now >= end {
                return;
            }
        }
    }

    /// Plans and acts until nothing is left to do now; then says what is waited for.
    fn control(&mut self) {
        let before = self.out.len();
        for _ in 0..50 {
            let plan = plan(&self.recipe, &self.status, &self.observed(), self.now);
            let mut moved = false;
            for action in &plan.actions {
                moved |= self.act(action);
            }
            if !moved {
                if self.out.len() > before {
                    let (phase, message) = (plan.phase, plan.message);
                    self.say(&format!("{phase:?}, {}: {message}", self.status.exposure()));
                }
                return;
            }
        }
        panic!("it never comes to rest:\n{}", self.out);
    }

    fn act(&mut self, action: &Action) -> bool {
        let outcome = match action {
            Action::Record(transition) => {
                self.record(transition);
                return true;
            }
            Action::TakeMeasurement { run, metric, provider } => {
                self.say(&format!("-> measure {metric} with {}", provider.name()));
                self.asked.push((run.clone(), metric.clone(), self.now));
                return false;
            }
            Action::ArmEnvelope(_) if !self.signing => return false,
            Action::ArmEnvelope(_) => action.armed(self.now),
            _ if !self.reachable => return false,
            Action::StartVersion { version } => {
                self.say(&format!("-> start {}", version.version));
                self.canary = Some((version.clone(), self.readiness));
                return true;
            }
            Action::SetWeight { operation, weight, .. } => {
                let known = self.answers.iter().find(|(o, ..)| o == operation).cloned();
                let (_, at, previous) = known.unwrap_or_else(|| {
                    let answer = (operation.clone(), self.now, self.weight);
                    self.answers.push(answer.clone());
                    self.weight = *weight;
                    answer
                });
                action.weight_applied(at, previous, Epoch(1))
            }
            Action::PromoteSlots { becomes_stable, .. } => {
                self.say(&format!("-> swap: {} becomes stable", becomes_stable.version));
                let (new, _) = self.canary.take().unwrap();
                self.canary = Some((std::mem::replace(&mut self.stable, new), true));
                self.weight = Weight::ZERO;
                action.slots_promoted(self.now)
            }
            Action::StopVersion { version, part_of, .. } => {
                self.say(&format!("-> stop {}", version.version));
                (self.canary, self.weight) = (None, Weight::ZERO);
                if *part_of == StopPart::Clearing {
                    return true;
                }
                action.done(self.now, 12, format!("{} is gone", version.version))
            }
            Action::RunMigration { name, .. } => {
                self.say(&format!("-> run {name}"));
                action.done(self.now, 34, format!("{name} has run"))
            }
            Action::TurnFlagsOff { flags, .. } => {
                self.say(&format!("-> flags off: {}", flags.join(", ")));
                action.done(self.now, 5, "off".to_owned())
            }
        };
        self.record(&outcome.expect("an action has an outcome"));
        true
    }
}
