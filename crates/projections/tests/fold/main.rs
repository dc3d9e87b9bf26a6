//! Folding in any split is folding at once, and nothing that a receipt may state makes a fold panic.

mod log;

use model::{
    Epoch, Kind, Verdict,
    event::{CommandSeen, Outcome},
};
use projections::{Overview, Phase, Receipt, ReleaseRow, ReleaseView, describe, reason, thin};
use proptest::prelude::*;
use receipts::Payload;
use serde_json::{Map, Value, json};

use self::log::{
    aborted, analysis, armed, asked, at, completed, digest, ended, id, log, paused, payload, promoted, resumed,
    started, stepped, w,
};

#[test]
fn a_release_that_was_aborted() {
    let log = log(vec![
        asked(0, "start"),
        started(),
        stepped(2, 0, 0, 5),
        paused(3, "step", Some(123), 5),
        armed(4),
        analysis(9, Kind::AnalysisFailed, Verdict::Failed, "5xx"),
        aborted(10, true),
        stepped(10, 1, 5, 0),
        completed(13, Outcome::Aborted),
        ended(14, Outcome::Aborted),
    ]);
    let mut view = ReleaseView::of(log[..4].to_vec()).unwrap();
    assert_eq!(view.row.phase, Phase::Paused { reason: "step".into(), until: Some(at(123)) });
    assert_eq!((view.row.next_at, view.row.stage(), view.row.waits()), (Some(at(123)), (1, 3), false));
    view.fold(&log[4]);
    view.fold(&log[5]);
    view.fold(&log[6]);
    assert_eq!((view.row.phase.clone(), view.row.weight), (Phase::Aborting, w(0)));
    for r in &log[7..] {
        view.fold(r);
    }
    assert_eq!(view.row.phase, Phase::Ended(Outcome::Aborted));
    assert_eq!((view.row.ended, view.row.exposed), (Some(at(13)), 61));
    assert_eq!(view.row.worst.as_deref(), Some("5xx 9.4 %, limit 1 %"));
    // 0.125 + 0.5 + 0.25 + 0.25; the sum over the release is not one of its parts.
    assert_eq!((view.row.joules.joules, view.row.joules.n), (1.125, 4));
    assert_eq!(view.weights.last(), Some(&(at(10), w(0))));
    assert_eq!(view.envelope.as_ref().unwrap().0, 4);
    assert_eq!(view.aborted().unwrap().0, 6);
}

#[test]
fn stages_behind_a_pause_without_an_end_count() {
    let mut held = started();
    held.facts.insert("planned".into(), json!([{ "at_ms": 0, "weight": 5 }]));
    let stage = |held: &Payload| ReleaseRow::of(&log(vec![held.clone(), stepped(2, 0, 0, 5)])).unwrap().stage();
    assert_eq!(stage(&held), (1, 1), "as the timetable tells where nothing else is stated");
    held.facts.insert("stops".into(), json!([5, 25, 100]));
    assert_eq!(stage(&held), (1, 3));
}

#[test]
fn an_abort_is_under_way_once_it_is_accepted() {
    let mut row = ReleaseRow::of(&log(vec![started(), stepped(2, 0, 0, 5), asked(4, "abort")])).unwrap();
    assert_eq!((row.phase.clone(), row.weight), (Phase::Aborting, w(5)), "its traffic is not gone yet");
    row.fold(&Receipt { index: 3, payload: stepped(4, 1, 5, 0) });
    assert_eq!((row.phase, row.weight), (Phase::Aborting, w(0)));
    let paused = ReleaseRow::of(&log(vec![started(), stepped(2, 0, 0, 5), asked(4, "pause")])).unwrap();
    assert_eq!(paused.phase, Phase::Progressing, "other commands are folded by what they did");
}

#[test]
fn a_persons_hold_lies_over_the_recipes_pause() {
    let mut row = ReleaseRow::of(&log(vec![
        started(),
        stepped(2, 0, 0, 5),
        paused(3, "step", Some(123), 5),
        paused(5, "person", None, 5),
    ]))
    .unwrap();
    assert!(row.waits());
    row.fold(&Receipt { index: 9, payload: resumed(8, "released") });
    assert_eq!(row.phase, Phase::Paused { reason: "step".into(), until: Some(at(123)) });
    row.fold(&Receipt { index: 10, payload: resumed(9, "pause-ended") });
    assert_eq!((row.phase.clone(), row.next_at), (Phase::Progressing, None));
}

#[test]
fn an_aborted_release_that_begins_again_is_under_way() {
    let mut payloads = vec![started(), stepped(2, 0, 0, 5), aborted(10, false), completed(13, Outcome::Aborted)];
    let row = ReleaseRow::of(&log(payloads.clone())).unwrap();
    assert!(!row.in_flight());
    assert_eq!(row.worst, None, "a person's abort is no finding");
    payloads.push(resumed(20, "retried"));
    let row = ReleaseRow::of(&log(payloads.clone())).unwrap();
    assert!(row.in_flight() && row.ended.is_none());
    payloads.pop();
    payloads.push(resumed(20, "released"));
    assert!(!ReleaseRow::of(&log(payloads)).unwrap().in_flight());
}

#[test]
fn the_overview_follows() {
    let receipts = log(vec![
        started(),
        stepped(2, 0, 0, 5),
        paused(3, "inconclusive", None, 5),
        promoted(9),
        completed(12, Outcome::Promoted),
    ]);
    let mut overview = Overview::assemble([ReleaseRow::of(&receipts[..2]).unwrap()], Some(1));
    assert!(!overview.fold(&receipts[1]), "folded before");
    assert!(!overview.fold(&receipts[2]));
    assert_eq!((overview.waiting.len(), overview.in_flight.len()), (1, 1));
    assert!(!overview.fold(&receipts[3]));
    assert!(!overview.fold(&receipts[4]));
    assert_eq!(
        (overview.waiting.len(), overview.in_flight.len(), overview.recent.len(), overview.as_of),
        (0, 0, 1, Some(4))
    );
    let other = Receipt { index: 9, payload: started().release(id(2)) };
    assert!(overview.fold(&other), "one that is not shown has to be read");
}

#[test]
fn phases_cross_the_wire() {
    for phase in [
        Phase::Progressing,
        Phase::Paused { reason: "step".into(), until: None },
        Phase::Aborting,
        Phase::Ended(Outcome::Promoted),
        Phase::Ended(Outcome::Aborted),
        Phase::Ended(Outcome::RolledBack),
    ] {
        let text = serde_json::to_string(&phase).unwrap();
        assert_eq!(serde_json::from_str::<Phase>(&text).unwrap(), phase, "{text}");
    }
}

#[test]
fn sentences() {
    for (payload, said) in [
        (started(), "checkout v2 started: 6 steps to production, against v1"),
        (stepped(2, 0, 5, 25), "5 → 25 %: canary stepped, step 1 of 6 of its recipe"),
        (stepped(2, 0, 25, 0), "25 → 0 %: all traffic on stable"),
        (paused(3, "person", None, 25), "Held at 25 %: by dana"),
        (paused(3, "step", Some(123), 25), "Held at 25 % until 14:08:35: by the recipe"),
        (resumed(3, "released"), "Hold lifted after 40 s: cache was warming"),
        (aborted(10, true), "Aborted at 25 % by the judge: 5xx 9.4 %, limit 1 %"),
        (aborted(10, false), "Aborted at 25 % by dana: 5xx 9.4 %, limit 1 %"),
        (given(aborted(10, false), ""), "Aborted at 25 % by dana"),
        (given(aborted(10, false), "abort by dana"), "Aborted at 25 % by dana"),
        (given(aborted(10, false), "rollback by lee"), "Aborted at 25 % by dana: rollback by lee"),
        (
            completed(13, Outcome::Aborted),
            "Rollout ended aborted after 47 s: to 0 % in 12 ms, 0 % to drained in 3.0 s, recovered in 3.0 s",
        ),
        (ended(14, Outcome::Promoted), "Release promoted: one receipt over 9 receipts, ≈ 99 J"),
        (asked(0, "pause"), "dana asked to pause"),
        (
            payload(
                Kind::CommandAccepted,
                0,
                &CommandSeen {
                    command: "restore".into(),
                    command_id: "a/restore/1".into(),
                    reason: "it served v1".into(),
                    refusal: None,
                },
            ),
            "Traffic put back to what the log says: it served v1",
        ),
        (
            analysis(
                1,
                Kind::AnalysisPassed,
                Verdict::Successful,
                "no regression found in 900 canary requests: evidence 0.2 to 1",
            ),
            "Analysis found no regression: in 900 canary requests: evidence 0.2 to 1",
        ),
        (
            analysis(
                1,
                Kind::AnalysisPassed,
                Verdict::Successful,
                "not decided in 172 canary requests: evidence against it 94 to 1, 100 to 1 would stop it",
            ),
            "Analysis did not stop it: not decided in 172 canary requests: evidence against it 94 to 1, 100 to 1 would stop it",
        ),
        (analysis(1, Kind::AnalysisPassed, Verdict::Successful, "p99 84 ms"), "Analysis passed: p99 84 ms"),
        (
            analysis(
                1,
                Kind::AnalysisPassed,
                Verdict::Successful,
                "Run Terminated; builtin: no regression found in 900 canary requests: evidence against it 0.2 to 1",
            ),
            "Analysis found no regression: in 900 canary requests: evidence against it 0.2 to 1",
        ),
        (
            analysis(
                1,
                Kind::AnalysisInconclusive,
                Verdict::Inconclusive,
                "inconclusive: no request reached the canary",
            ),
            "Analysis inconclusive: no request reached the canary",
        ),
        (gates(0), "Gates passed: 0 reports, 3 findings, policy “strict”"),
        (gates(2), "Gates passed, 2 scanners not run: 0 reports, 3 findings, policy “strict”"),
        (payload(Kind::FlagToggled, 0, &json!({})), "Flag toggled"),
    ] {
        assert_eq!(describe(&Receipt { index: 0, payload }).sentence(), said);
    }
}

#[test]
fn a_reason_that_nobody_gave_is_none() {
    let held = |reason| {
        let mut p = paused(3, reason, None, 25);
        p.facts.insert("transition".into(), json!({ "type": "held" }));
        p
    };
    for (payload, said) in [
        (aborted(1, true), Some("5xx 9.4 %, limit 1 %")),
        (given(aborted(1, false), "payments fail"), Some("payments fail")),
        (given(aborted(1, false), " smoke test: result bad "), Some("smoke test: result bad")),
        (given(aborted(1, true), "errors: result 0.2"), Some("errors is 0.2")),
        (given(aborted(1, false), ""), None),
        (given(aborted(1, false), "abort by dana"), None),
        (given(aborted(1, false), "rollback by dana"), None),
        (given(aborted(1, false), "abort by lee"), Some("abort by lee")),
        (given(asked(1, "abort"), "abort by dana"), Some("abort by dana")),
        (asked(1, "abort"), None),
        (held("person"), None),
        (held("lunch"), Some("lunch")),
        (started(), None),
    ] {
        assert_eq!(reason(&payload).as_deref(), said, "{:?}", payload.facts);
    }
}

/// The same with another reason.
fn given(mut p: Payload, reason: &str) -> Payload {
    p.facts.insert("reason".into(), reason.into());
    p
}

fn gates(not_run: usize) -> Payload {
    let facts = json!({
        "decision": "passed", "policy": "strict", "policy_digest": digest(3), "reports": [], "findings": 3, "failing": 0, "waived": 0,
        "reasons": [], "reasons_total": 0, "top": [], "segment": digest(4),
        "not_run": vec![json!({ "tool": "trivy", "why": "not installed" }); not_run],
    });
    payload(Kind::GatesPassed, 0, &facts)
}

#[test]
fn steps_that_a_person_skipped_name_the_person() {
    let forced = |s| {
        let mut p = promoted(s);
        p.facts.insert("full".into(), json!(true));
        p.actor = model::Actor::controller();
        p
    };
    let by = |more: Vec<Payload>| {
        let view = ReleaseView::of(log([vec![started()], more].concat())).unwrap();
        view.skipped_by().map(ToString::to_string)
    };
    assert_eq!(by(vec![promoted(3)]), None);
    let dana = Some("dana".to_owned());
    assert_eq!(by(vec![resumed(2, "promoted-full")]), dana, "before it is stable");
    assert_eq!(by(vec![resumed(2, "promoted-full"), forced(3)]), dana);
    let again =
        vec![resumed(2, "promoted-full"), aborted(3, false), completed(4, Outcome::Aborted), resumed(5, "retried")];
    assert_eq!(by(again), None, "it begins again with all its steps");
}

#[test]
fn who_asked_is_who_started_it() {
    let mut by_controller = started();
    by_controller.actor = model::Actor::controller();
    let row = ReleaseRow::of(&log(vec![asked(0, "start"), by_controller.clone()])).unwrap();
    assert_eq!(row.actor.as_str(), "dana");
    assert_eq!(ReleaseRow::of(&log(vec![by_controller])).unwrap().actor.as_str(), "controller");
}

#[test]
fn buttons() {
    use model::CommandKind::{Abort, Pause, Promote, Resume, Retry, Rollback};
    let back = |s| {
        let mut p = promoted(s);
        p.facts.insert("back".into(), json!(true));
        p
    };
    let begun = || vec![started(), stepped(2, 0, 0, 5)];
    let with = |more: Vec<Payload>| begun().into_iter().chain(more).collect::<Vec<_>>();
    for (name, payloads, on) in [
        ("going on", begun(), vec![Promote, Pause, Abort]),
        ("pause of the recipe", with(vec![paused(3, "step", Some(99), 5)]), vec![Promote, Pause, Resume, Abort]),
        ("held", with(vec![paused(3, "person", None, 5)]), vec![Promote, Resume, Abort]),
        ("aborting", with(vec![aborted(4, true)]), vec![]),
        ("abort asked for", with(vec![paused(3, "step", Some(99), 5), asked(4, "abort")]), vec![]),
        ("rollback asked for", with(vec![promoted(4), completed(5, Outcome::Promoted), asked(6, "rollback")]), vec![]),
        ("aborted", with(vec![aborted(4, true), completed(5, Outcome::Aborted)]), vec![Retry]),
        ("stable, old version not gone", with(vec![promoted(4)]), vec![Abort, Rollback]),
        ("promoted", with(vec![promoted(4), completed(5, Outcome::Promoted)]), vec![Rollback]),
        (
            "rolled back",
            with(vec![
                promoted(4),
                completed(5, Outcome::Promoted),
                aborted(6, false),
                back(7),
                completed(8, Outcome::RolledBack),
            ]),
            vec![],
        ),
    ] {
        let view = ReleaseView::of(log(payloads)).unwrap();
        let possible: Vec<_> = view
            .commands
            .iter()
            .filter(|c| c.refused.is_none() && c.kind != model::CommandKind::PromoteFull)
            .map(|c| c.kind)
            .collect();
        assert_eq!(possible, on, "{name}");
    }
}

#[test]
fn a_rollback_is_no_promotion() {
    let mut back = promoted(9);
    back.facts.insert("back".into(), json!(true));
    let view = ReleaseView::of(log(vec![
        started(),
        promoted(4),
        completed(5, Outcome::Promoted),
        aborted(6, false),
        stepped(6, 5, 100, 0),
        back,
    ]))
    .unwrap();
    assert_eq!((view.row.phase.clone(), view.row.weight, view.row.promoted), (Phase::Aborting, w(0), false));
    assert_eq!(view.weights.last(), Some(&(at(6), w(0))));
}

fn any_payload() -> impl Strategy<Value = Payload> {
    let known = prop_oneof![
        Just(started()),
        (0i64..99, 0u32..6, 0u8..=100, 0u8..=100).prop_map(|(s, step, a, b)| stepped(s, step, a, b)),
        (0i64..99, prop_oneof![Just("step"), Just("person"), Just("inconclusive")], proptest::option::of(0i64..200))
            .prop_map(|(s, r, u)| paused(s, r, u, 5)),
        (0i64..99, prop_oneof![Just("released"), Just("pause-ended"), Just("retried"), Just("x")])
            .prop_map(|(s, t)| resumed(s, t)),
        (0i64..99).prop_map(|s| analysis(s, Kind::AnalysisInconclusive, Verdict::Inconclusive, "few requests")),
        (0i64..99).prop_map(armed),
        (1i64..99, any::<bool>()).prop_map(|(s, a)| aborted(s, a)),
        (0i64..99).prop_map(|s| completed(s, Outcome::Aborted)),
        (0i64..99).prop_map(promoted),
        (0i64..99).prop_map(|s| ended(s, Outcome::RolledBack)),
        (0i64..99).prop_map(|s| asked(s, "pause")),
    ];
    // Any kind with facts that are missing, or of another type than they must be.
    let broken = (
        proptest::sample::select(Kind::ALL),
        proptest::collection::vec(
            (
                proptest::sample::select(vec![
                    "weight",
                    "step",
                    "reason",
                    "outcome",
                    "exposed",
                    "transition",
                    "verdict",
                    "planned",
                ]),
                any_json(),
            ),
            0..4,
        ),
        0i64..99,
    )
        .prop_map(|(kind, facts, s)| {
            payload(kind, s, &facts.into_iter().map(|(k, v)| (k.to_owned(), v)).collect::<Map<String, Value>>())
        });
    let other = (known.clone(), 2u8..4).prop_map(|(p, n)| p.release(id(n)));
    prop_oneof![6 => known, 2 => broken, 1 => other]
}

fn any_json() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(|n| json!(n)),
        any::<f64>().prop_map(|n| json!(n)),
        ".{0,8}".prop_map(|s| json!(s)),
        Just(json!({"type": 7})),
        Just(json!([[[]]]))
    ]
}

proptest! {
    #[test]
    fn any_split_is_at_once(payloads in proptest::collection::vec(any_payload(), 0..40), split in 0usize..40) {
        let all = log(payloads);
        let mine: Vec<Receipt> = all.iter().filter(|r| r.payload.release == Some(id(1))).cloned().collect();
        let at_once = ReleaseView::of(mine.clone());
        prop_assert_eq!(at_once.clone().map(|v| v.row), ReleaseRow::of(&mine));

        let split = split.min(mine.len());
        match (ReleaseView::of(mine[..split].to_vec()), ReleaseRow::of(&mine[..split])) {
            (Some(mut view), Some(mut row)) => {
                for r in &mine[split..] {
                    view.fold(r);
                    view.fold(r);
                    row.fold(r);
                }
                prop_assert_eq!(Some(row), at_once.as_ref().map(|v| v.row.clone()));
                prop_assert_eq!(Some(view), at_once.clone());
            }
            (None, None) => {}
            _ => prop_assert!(false, "a row without a view"),
        }
        // The whole log, other releases included, gives the same view.
        if let Some(view) = &at_once {
            let upto = |i: usize| ReleaseView::of(all[..=i].iter().filter(|r| r.payload.release == Some(id(1))).cloned().collect());
            let started = (0..all.len()).find(|i| upto(*i).is_some()).unwrap();
            let mut live = upto(started).unwrap();
            for r in &all[started + 1..] {
                live.fold(r);
            }
            prop_assert_eq!(&live.row, &view.row);
            prop_assert_eq!(&live.receipts, &view.receipts);
        }
        for r in &all {
            let said = describe(r);
            prop_assert!(!said.headline.is_empty());
        }
    }

    #[test]
    fn thinned_ticks_leave_each_stage_its_own(lengths in prop::collection::vec(1usize..60, 1..8), max in 1usize..80) {
        let weights = lengths.iter().enumerate().flat_map(|(i, n)| std::iter::repeat_n(i as u8 * 10, *n));
        let counted = model::VersionTick { n: 1, ..model::VersionTick::default() };
        let ticks: Vec<model::Tick> = weights.enumerate().map(|(i, weight)| model::Tick {
            seq: i as u64, boot: "b".into(), at: at(i as i64), weight: w(weight), weight_changed: false, epoch: Epoch(1),
            stable: model::VersionTick::default(), canary: Some(counted.clone()), canary_last_sent: None, sticky: false, judged: None, counted: Vec::new(),
        }).collect();
        let thinned = thin(ticks, max);
        prop_assert!(thinned.len() <= max);
        if lengths.len() <= max {
            for (i, n) in lengths.iter().enumerate() {
                let of = thinned.iter().filter(|t| t.weight == w(i as u8 * 10));
                prop_assert_eq!(of.map(|t| t.canary.as_ref().unwrap().n).sum::<u64>(), *n as u64);
            }
        }
    }

    #[test]
    fn thinned_ticks_count_every_request(counts in prop::collection::vec((0u64..40, 0u64..5, 0u64..200_000), 1..400), max in 1usize..50) {
        let second = |(n, errors, spread): (u64, u64, u64)| model::VersionTick {
            n, errors: errors.min(n),
            mean_ms: (n > 0).then_some(10.0), sigma_ms: (n > 0).then_some(3.0),
            histogram: (0..n).map(|i| model::HistogramBucket(1_000 + i * spread, 1)).collect(),
            ..model::VersionTick::default()
        };
        let ticks: Vec<model::Tick> = counts.iter().enumerate().map(|(i, c)| model::Tick {
            seq: i as u64, boot: "b".into(), at: at(i as i64), weight: w(5), weight_changed: false, epoch: Epoch(1),
            stable: model::VersionTick::default(), canary: Some(second(*c)), canary_last_sent: None, sticky: false, judged: None, counted: Vec::new(),
        }).collect();
        let sum = |ticks: &[model::Tick]| ticks.iter().filter_map(|t| t.canary.as_ref()).fold((0, 0), |(n, e), c| (n + c.n, e + c.errors));
        let all = sum(&ticks);
        let thinned = thin(ticks.clone(), max);
        prop_assert!(thinned.len() <= max);
        prop_assert!(thinned.windows(2).all(|w| w[0].at < w[1].at));
        prop_assert_eq!(sum(&thinned), all);
        let run = counts.len().div_ceil(max);
        if run > 1 {
            for (ticks, tick) in ticks.chunks(run).zip(&thinned) {
                // Nearest rank over every single request of the run.
                let mut each: Vec<u64> = ticks.iter().flat_map(|t| t.canary.as_ref().unwrap().histogram.iter().map(|b| b.0)).collect();
                each.sort_unstable();
                let p99 = (!each.is_empty()).then(|| each[(each.len() * 99).div_ceil(100) - 1] as f64 / 1000.0);
                let canary = tick.canary.as_ref().unwrap();
                prop_assert_eq!(canary.p99_ms, p99);
                prop_assert!(canary.sigma_ms.is_none_or(|s| (s - 3.0).abs() < 1e-9));
            }
        }
    }
}
