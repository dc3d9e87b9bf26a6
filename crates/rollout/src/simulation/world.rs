//! One seed: a release, its controller, and everything that can happen to them.

use model::{Actor, CommandKind, Epoch, Timestamp, Verdict, Weight};
use serde_json::json;

use super::{
    Random,
    oracle::{APPLIED_TWICE, Oracle, WEIGHT_AFTER_ABORT},
    plane::{Plane, version},
};
use crate::{
    Action, Builtin, Observed, Recipe, Start, Status, StopPart, Transition, assess, engine::command, plan,
    recipe::Provider,
};

/// Plans in a row without a wait between them: more is a loop that never ends.
const MAX_PLANS: u32 = 60;

/// Events of a seed before everything is put right again.
const EVENTS: u64 = 40;

/// Rounds in which a release must come to its end once nothing goes wrong any more.
const ROUNDS_TO_END: u32 = 400;

const HEAD: &str = "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {name: r, annotations: {deliveryos.dev/on-controller-loss: LOSS}}\nspec:\n  selector: {matchLabels: {a: b}}\n  template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}\n";

const BUILTIN: &str = "\n---\napiVersion: argoproj.io/v1alpha1\nkind: AnalysisTemplate\nmetadata: {name: t}\nspec: {metrics: [{name: builtin, interval: 1s, provider: {plugin: {deliveryos/builtin: {}}}}]}\n";

const PROMETHEUS: &str = "\n---\napiVersion: argoproj.io/v1alpha1\nkind: AnalysisTemplate\nmetadata: {name: t}\nspec:\n  metrics:\n  - {name: a, interval: 20s, failureLimit: 1, inconclusiveLimit: 1, successCondition: 'result[0] < 1', failureCondition: 'result[0] > 2', provider: {prometheus: {address: p, query: q}}}\n  - {name: b, interval: 30s, initialDelay: 10s, failureCondition: 'result[0] > 2', provider: {prometheus: {address: p, query: q}}}\n";

const BOTH: &str = "\n---\napiVersion: argoproj.io/v1alpha1\nkind: AnalysisTemplate\nmetadata: {name: t}\nspec:\n  metrics:\n  - {name: builtin, interval: 1s, provider: {plugin: {deliveryos/builtin: {}}}}\n  - {name: a, interval: 20s, count: 3, successCondition: 'result[0] < 1', failureCondition: 'result[0] > 2', provider: {prometheus: {address: p, query: q}}}\n";

const COUNTED: &str = "\n---\napiVersion: argoproj.io/v1alpha1\nkind: AnalysisTemplate\nmetadata: {name: t}\nspec:\n  metrics:\n  - {name: a, interval: 10s, count: 3, consecutiveErrorLimit: 1, successCondition: 'result[0] < 1', failureCondition: 'result[0] > 2', provider: {prometheus: {address: p, query: q}}}\n";

/// Recipes of different shapes, small times.
pub(super) fn recipes() -> Vec<Recipe> {
    let background = "analysis: {templates: [{templateName: t}]}";
    let late = "analysis: {templates: [{templateName: t}], startingStep: 2}";
    let steps = "steps: [{setWeight: 5}, {pause: {duration: 20}}, {setWeight: 25}, {pause: {duration: 30}}, {setWeight: 100}, {pause: {duration: 20}}]";
    let half = "steps: [{setWeight: 10}, {pause: {}}, {setWeight: 50}, {pause: {duration: 10}}]";
    let inline = "steps: [{setWeight: 20}, {analysis: {templates: [{templateName: t}]}}, {setWeight: 60}, {pause: {duration: 5}}]";
    let odd = "steps: [{pause: {duration: 5}}, {setWeight: 0}, {setWeight: 30}, {setWeight: 30}, {setWeight: 10}, {pause: {duration: 15}}]";
    let table: [(&str, &str, &str, &str, &str); 9] = [
        ("", background, steps, BUILTIN, "resume"),
        ("  progressDeadlineSeconds: 60\n  progressDeadlineAbort: true\n", background, steps, BUILTIN, "abort"),
        ("", background, half, PROMETHEUS, "resume"),
        ("", late, steps, BOTH, "abort"),
        ("", "abortScaleDownDelaySeconds: 0", inline, COUNTED, "resume"),
        ("", background, odd, BUILTIN, "resume"),
        ("", "abortScaleDownDelaySeconds: 5", "steps: []", "", "resume"),
        ("  rollbackWindow: {revisions: 2}\n", background, steps, BUILTIN, "resume"),
        ("", background, "steps: [{setWeight: 100}]", BUILTIN, "resume"),
    ];
    let load = |(spec, first, second, templates, loss): (&str, &str, &str, &str, &str)| {
        let text = format!(
            "{}{spec}  strategy:\n    canary:\n      {first}\n      {second}\n{templates}",
            HEAD.replace("LOSS", loss)
        );
        Recipe::load(&[("r", text.as_bytes())]).unwrap_or_else(|r| panic!("{text}\n{r:#?}"))
    };
    table.into_iter().map(load).collect()
}

struct World<'a> {
    random: Random,
    recipe: &'a Recipe,
    now: Timestamp,
    plane: Plane,
    oracle: Oracle<'a>,
    log: Vec<Transition>,
    status: Status,
    /// Outcomes that come late.
    late: Vec<Transition>,
    /// Measurements under way: run, metric, begun.
    measuring: Vec<(String, String, Timestamp)>,
    honest: bool,
    tell: bool,
}

/// Runs a seed. The error names the invariant that was broken.
pub(super) fn run(seed: u64, recipes: &[Recipe], tell: bool) -> Result<(), String> {
    let mut random = Random::new(seed);
    let recipe = random.pick(recipes);
    let with_acts = random.once_in(3);
    let start = Start {
        release: "r-1".parse().expect("an id"),
        service: "r".parse().expect("an id"),
        canary: version(2),
        stable: version(1),
        recipe: version(9).digest,
        speed: 1.0,
        down_migration: with_acts.then(|| "down".to_owned()),
        flags_off: if with_acts { vec!["f".to_owned()] } else { Vec::new() },
        revisions_back: random.once_in(4).then_some(1),
    };
    let now = Timestamp::from_millis(1_700_000_000_000);
    let (status, started) = Status::start(start, now);
    let plane = Plane::new(version(1));
    let oracle = Oracle::new(recipe);
    let log = vec![started];
    let (late, measuring) = (Vec::new(), Vec::new());
    let mut world = World { random, recipe, now, plane, oracle, log, status, late, measuring, honest: false, tell };
    for _ in 0..EVENTS {
        world.event()?;
    }
    world.put_right()
}

impl World<'_> {
    fn say(&self, what: &dyn std::fmt::Debug) {
        if self.tell {
            #[allow(clippy::print_stderr)]
            {
                eprintln!("{} {what:?}", self.now.clock());
            }
        }
    }

    fn event(&mut self) -> Result<(), String> {
        match self.random.below(24) {
            0 => self.crash(),
            1 => {
                self.plane.reachable = !self.plane.reachable;
                self.say(&("reachable", self.plane.reachable));
            }
            2 => {
                self.say(&"data plane restarts");
                self.plane.restart();
            }
            3 if self.random.once_in(2) => {
                self.say(&"canary process gone");
                self.plane.crash_canary();
            }
            4 => {
                let ready = self.random.once_in(2);
                self.plane.settle(ready);
            }
            5 => self.dead_man()?,
            6..=8 => self.command()?,
            9 => {
                // Late outcomes and doubles are recorded.
                for transition in std::mem::take(&mut self.late) {
                    self.record(&transition)?;
                }
            }
            10 if self.random.once_in(3) => {
                let far = i64::try_from(self.random.below(7_200_000)).unwrap_or(0);
                self.now = self.now.plus_millis(far);
            }
            11 if self.random.once_in(3) => {
                // An observation that is older than the clock is set back is not to be told from a new one; that alone is spared.
                self.plane.forget_past();
                let back = i64::try_from(self.random.below(30_000)).unwrap_or(0);
                self.now = self.now.plus_millis(-back);
            }
            12..=13 => self.finish_measurements()?,
            _ => {
                self.plane.settle(true);
                let step = i64::try_from(self.random.below(12_000)).unwrap_or(0);
                self.now = self.now.plus_millis(step);
            }
        }
        if !self.random.once_in(5) {
            self.controller()?;
        }
        if self.random.once_in(8) {
            self.refold()?;
        }
        Ok(())
    }

    /// The process dies: what is in memory is gone.
    fn crash(&mut self) {
        self.say(&"crash");
        self.measuring.clear();
        self.late.clear();
        let text = serde_json::to_string(&self.log).expect("transitions are JSON");
        let log: Vec<Transition> = serde_json::from_str(&text).expect("and JSON is transitions");
        self.status = Status::fold(&log).expect("a log begins with started");
    }

    fn refold(&self) -> Result<(), String> {
        let folded = Status::fold(&self.log).map_err(|e| e.to_string())?;
        if folded == self.status {
            Ok(())
        } else {
            Err(format!("the fold is not the status: {folded:#?}\n{:#?}", self.status))
        }
    }

    fn record(&mut self, transition: &Transition) -> Result<(), String> {
        self.say(transition);
        self.oracle.recorded(transition)?;
        self.log.push(transition.clone());
        self.status.apply(transition);
        Ok(())
    }

    fn dead_man(&mut self) -> Result<(), String> {
        if self.plane.weight > Weight::ZERO && !self.status.swapped {
            self.say(&"dead man");
            self.plane.weight = Weight::ZERO;
            self.plane.dead_man_at = Some(self.now);
            let last_seen = self.now.plus_millis(-self.recipe.dead_man.after_ms - 1);
            for transition in command::controller_back(self.recipe, &self.status, last_seen, self.now) {
                self.record(&transition)?;
            }
        }
        Ok(())
    }

    fn command(&mut self) -> Result<(), String> {
        let kind = *self.random.pick(&CommandKind::ALL);
        let kind =
            if kind == CommandKind::PromoteFull && !self.random.once_in(4) { CommandKind::Promote } else { kind };
        let actor: Actor = "dana".parse().expect("a name");
        let possible = command::available_commands(self.recipe, &self.status).into_iter().find(|a| a.command == kind);
        let decided = command::decide(self.recipe, &self.status, kind, &actor, "", self.now);
        if decided.is_ok() != possible.is_some_and(|a| a.possible.is_ok()) {
            return Err(format!("{kind} is decided otherwise than it is shown"));
        }
        self.say(&(kind, decided.is_ok()));
        for transition in decided.unwrap_or_default() {
            self.record(&transition)?;
        }
        Ok(())
    }

    fn observe(&mut self) -> Observed {
        let mut observed = self.plane.observe(&mut self.random, self.now, self.honest);
        observed.measuring = self.measuring.iter().map(|(r, m, _)| (r.clone(), m.clone())).collect();
        if self.status.builtin(self.recipe).is_some() && (self.honest || !self.random.once_in(4)) {
            let verdict = match self.random.below(if self.honest { 6 } else { 12 }) {
                0 if !self.honest => Verdict::Failed,
                1..=2 if !self.honest => Verdict::Inconclusive,
                _ => Verdict::Successful,
            };
            let older = self.random.once_in(6) && !self.honest;
            let since = if older { self.now.plus_millis(-60_000) } else { self.status.applied_at };
            observed.builtin =
                Some(Builtin { since, at: self.now, verdict, message: "word".to_owned(), certified: true });
        }
        observed
    }

    /// The controller's loop, until nothing is left to do now.
    fn controller(&mut self) -> Result<(), String> {
        for _ in 0..MAX_PLANS {
            let observed = self.observe();
            let plan = plan(self.recipe, &self.status, &observed, self.now);
            let mut moved = false;
            for action in plan.actions {
                if !self.honest && self.random.once_in(40) {
                    // Between two actions the process dies.
                    self.crash();
                    return Ok(());
                }
                moved |= self.carry_out(&action)?;
            }
            if !moved {
                self.check_at_rest()?;
                return Ok(());
            }
        }
        // A data plane that shows other things each time can keep a controller busy; an honest one cannot.
        if self.honest { Err("the controller never comes to rest".to_owned()) } else { Ok(()) }
    }

    /// Nothing is left to do now: an abort before promotion has brought the weight to 0.
    fn check_at_rest(&mut self) -> Result<(), String> {
        let new = version(2).digest;
        if self.honest && self.oracle.aborted && !self.oracle.promoted && self.plane.exposure(&new) > 0 {
            return Err(format!("{WEIGHT_AFTER_ABORT}: {} % at rest", self.plane.exposure(&new)));
        }
        Ok(())
    }

    /// Carries one action out; true when the status may have changed.
    fn carry_out(&mut self, action: &Action) -> Result<bool, String> {
        if !matches!(action, Action::Record(_) | Action::TakeMeasurement { .. }) {
            self.say(action);
        }
        match action {
            Action::Record(transition) => {
                self.record(transition)?;
                return Ok(true);
            }
            Action::ArmEnvelope(_) => {
                // Signing may fail for a while.
                if self.honest || self.random.once_in(4) {
                    return self.outcome(action.armed(self.now));
                }
            }
            Action::TakeMeasurement { run, metric, provider } => {
                if matches!(provider, Provider::Builtin(_)) {
                    return Err("a measurement of the built-in rule was asked for".to_owned());
                }
                if self.measuring.iter().any(|(r, m, _)| r == run && m == metric) {
                    return Err("a measurement under way was asked for again".to_owned());
                }
                self.measuring.push((run.clone(), metric.clone(), self.now));
                if self.honest {
                    self.finish_measurements()?;
                    return Ok(true);
                }
            }
            _ if !self.plane.reachable => {}
            Action::StartVersion { version } => self.plane.start(version),
            Action::SetWeight { operation, weight, cause, change } => {
                let new = version(2).digest;
                let swapped = self.plane.stable.digest == new;
                let exposure = self.plane.exposure(&new);
                let Ok((at, previous, fresh)) = self.plane.set_weight(operation, *weight, self.now) else {
                    return Ok(false);
                };
                if fresh {
                    let told = (self.status.attempt, *change, *cause, *weight);
                    if self.plane.told.contains(&told) {
                        return Err(format!("{APPLIED_TWICE}: {told:?}"));
                    }
                    self.plane.told.push(told);
                    self.oracle.may_set(*cause, *weight, swapped, exposure)?;
                }
                return self.outcome(action.weight_applied(at, previous, Epoch(1)));
            }
            Action::PromoteSlots { operation, becomes_stable, back } => {
                let swaps = self.plane.swaps;
                let Ok(at) = self.plane.promote(operation, becomes_stable, self.now) else { return Ok(false) };
                if self.plane.swaps > swaps && !back {
                    self.oracle.may_promote()?;
                    if self.plane.swaps > 1 {
                        return Err(format!("{APPLIED_TWICE}: promoted"));
                    }
                }
                return self.outcome(action.slots_promoted(at));
            }
            Action::StopVersion { version: stopped, part_of, .. } => {
                if self.plane.stable == *stopped {
                    return Err(format!("{} has all traffic and is stopped", stopped.version));
                }
                self.plane.stop(stopped);
                let done = action.done(self.now, 5, "gone".to_owned());
                return if *part_of == StopPart::Clearing { Ok(false) } else { self.outcome(done) };
            }
            Action::RunMigration { operation, .. } | Action::TurnFlagsOff { operation, .. } => {
                let before = self.plane.acts.len();
                self.plane.act(operation);
                if self.plane.acts.len() > before && self.plane.exposure(&version(2).digest) > 0 && self.honest {
                    return Err(format!("{WEIGHT_AFTER_ABORT}: {operation} while the new version has traffic"));
                }
                return self.outcome(action.done(self.now, 5, "done".to_owned()));
            }
        }
        Ok(false)
    }

    /// An outcome: recorded, lost in a crash, or recorded later (or twice).
    fn outcome(&mut self, transition: Option<Transition>) -> Result<bool, String> {
        let Some(transition) = transition else { return Err("an action without an outcome".to_owned()) };
        if !self.honest && self.random.once_in(12) {
            self.say(&"outcome lost");
            self.crash();
            return Ok(false);
        }
        if !self.honest && self.random.once_in(10) {
            self.say(&"outcome late");
            self.late.push(transition);
            return Ok(false);
        }
        if !self.honest && self.random.once_in(20) {
            self.late.push(transition.clone());
        }
        self.record(&transition)?;
        Ok(true)
    }

    fn finish_measurements(&mut self) -> Result<(), String> {
        for (run, metric, begun) in std::mem::take(&mut self.measuring) {
            let value = match self.random.below(if self.honest { 6 } else { 14 }) {
                _ if self.honest => json!([0.5]),
                0 => json!([5]),
                1 => json!([1.5]),
                2 => json!(["NaN"]),
                3 => json!([]),
                4 => json!(null),
                _ => json!([0.5]),
            };
            let is_down = !self.honest && self.random.once_in(6);
            let answer = if is_down { Err("source is down") } else { Ok(&value) };
            let measured = assess::measured(self.recipe, &self.status, &run, &metric, begun, answer, self.now);
            for _ in 0..if self.random.once_in(5) { 2 } else { 1 } {
                if let Some(transition) = &measured {
                    self.record(transition)?;
                }
            }
        }
        Ok(())
    }

    /// Nothing goes wrong any more: the release must come to its end, with every invariant held.
    fn put_right(&mut self) -> Result<(), String> {
        self.honest = true;
        self.plane.reachable = true;
        self.say(&"put right");
        for transition in std::mem::take(&mut self.late) {
            self.record(&transition)?;
        }
        self.finish_measurements()?;
        for _ in 0..ROUNDS_TO_END {
            self.plane.settle(true);
            self.controller()?;
            if self.status.ended_at.is_some() {
                return self.check_end();
            }
            let person = [CommandKind::Resume, CommandKind::Promote];
            let waits_for_person = self.status.held.is_some() || self.status.pauses.iter().any(|p| p.until.is_none());
            if waits_for_person {
                let actor: Actor = "dana".parse().expect("a name");
                let kind = *self.random.pick(&person);
                for transition in
                    command::decide(self.recipe, &self.status, kind, &actor, "", self.now).unwrap_or_default()
                {
                    self.record(&transition)?;
                }
            }
            self.now = self.now.plus_millis(7_001);
        }
        // A clock that was set back makes everything wait until it is where it was.
        Err(format!("the release never ends: {:#?}", self.status))
    }

    fn check_end(&self) -> Result<(), String> {
        let exposure = self.plane.exposure(&version(2).digest);
        let stays = if self.oracle.aborted { 0 } else { 100 };
        if exposure != stays {
            return Err(format!("{WEIGHT_AFTER_ABORT}: the new version ends with {exposure} % instead of {stays} %"));
        }
        if self.plane.acts.values().any(|n| *n > 1) {
            return Err(format!("{APPLIED_TWICE}: an act"));
        }
        self.refold()
    }
}
