//! Ticks as columns of numbers: the better part of a release's page, which is read before anything is drawn. Written so they are a quarter of
//! the names and values that a tick is elsewhere, and what stays the same from second to second costs nothing once compressed.
//!
//! The columns: ms and seconds since the tick before (the first one: since 1970, and the tick's own number), weight, bits, epoch; requests,
//! failures and p99 of the stable version; the same of the canary, of ticks that have one; what the judge said, of ticks at which it did. What
//! no page shows is not there. The bits say which of a tick's columns go on.

use model::{Epoch, Judged, Tick, Timestamp, VersionTick, Weight};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};

/// Bits of a tick.
const CHANGED: u8 = 1;
const STICKY: u8 = 2;
const CANARY: u8 = 4;
const JUDGED: u8 = 8;

/// The columns that each tick has; after them three of the canary, and ten of the judge.
const ALWAYS: usize = 8;
const OF_CANARY: usize = ALWAYS;
const OF_JUDGE: usize = OF_CANARY + 3;
const COLUMNS: usize = OF_JUDGE + 10;

/// Ticks, as they are sent.
#[derive(Serialize, Deserialize)]
struct Columns {
    /// The runs of the data plane: the tick that each begins with.
    boots: Vec<(usize, String)>,
    /// What the judge's last numbers stand for.
    verdicts: Vec<String>,
    columns: Vec<Vec<Number>>,
}

/// A number, or that there is none. A whole one is written without a point.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
struct Number(Option<f64>);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(n) if n.fract() == 0.0 && n.abs() < 9e15 => to.serialize_i64(n as i64),
            Some(n) => to.serialize_f64(n),
            None => to.serialize_none(),
        }
    }
}

/// Writes ticks; what is finer than a drawing is rounded.
pub(super) fn serialize<S: Serializer>(ticks: &[Tick], to: S) -> Result<S::Ok, S::Error> {
    let mut out = Columns { boots: Vec::new(), verdicts: Vec::new(), columns: vec![Vec::new(); COLUMNS] };
    let (mut at, mut seq) = (0, 0);
    for (i, tick) in ticks.iter().enumerate() {
        if out.boots.last().is_none_or(|(_, boot)| *boot != tick.boot) {
            out.boots.push((i, tick.boot.clone()));
        }
        let Tick { stable, canary, judged, .. } = tick;
        let bits = [tick.weight_changed, tick.sticky, canary.is_some(), judged.is_some()];
        let bits = bits.iter().rev().fold(0_u8, |bits, set| bits << 1 | u8::from(*set));
        let ms = tick.at.since(Timestamp::from_millis(0));
        let mut put = |from: usize, values: &[Option<f64>]| {
            for (column, value) in out.columns.iter_mut().skip(from).zip(values) {
                column.push(Number(*value));
            }
        };
        let version = |v: &VersionTick| [Some(whole(v.n)), Some(whole(v.errors)), v.p99_ms.map(|ms| fine(ms, 1e3))];
        let [n, errors, p99] = version(stable);
        let weight = f64::from(tick.weight.percent());
        let since = [(ms - at) as f64, whole(tick.seq) - seq as f64, weight, f64::from(bits), whole(tick.epoch.0)];
        let [since, number, weight, bits, epoch] = since.map(Some);
        put(0, &[since, number, weight, bits, epoch, n, errors, p99]);
        (at, seq) = (ms, i64::try_from(tick.seq).map_err(S::Error::custom)?);
        if let Some(canary) = canary {
            put(OF_CANARY, &version(canary));
        }
        if let Some(judged) = judged {
            let verdict = out.verdicts.iter().position(|known| *known == judged.verdict).unwrap_or_else(|| {
                out.verdicts.push(judged.verdict.clone());
                out.verdicts.len() - 1
            });
            let Judged { joint, abs, rel, p99, ratio: [from, to], difference: [low, high], exposed, .. } = **judged;
            let [joint, abs, rel, p99] = [joint, abs, rel, p99].map(|ln| Some(fine(ln, 1e4)));
            let [from, to, low, high] = [from, to, Some(low), Some(high)].map(|end| end.map(|end| fine(end, 1e6)));
            let (exposed, verdict) = (Some(whole(exposed)), Some(verdict as f64));
            put(OF_JUDGE, &[joint, abs, rel, p99, from, to, low, high, exposed, verdict]);
        }
    }
    out.serialize(to)
}

fn fine(value: f64, parts: f64) -> f64 {
    (value * parts).round() / parts
}

/// Counts of a second are far below what a number with a point holds exactly.
fn whole(n: u64) -> f64 {
    n as f64
}

/// Reads ticks.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Tick>, D::Error> {
    let Columns { boots, verdicts, columns } = Columns::deserialize(from)?;
    let mut boots = boots.into_iter().peekable();
    let mut left = Left(columns.into_iter().map(Vec::into_iter).collect());
    let (mut boot, mut at, mut seq) = (String::new(), 0, 0);
    let mut ticks = Vec::new();
    while !left.is_empty() {
        let i = ticks.len();
        if let Some((_, next)) = boots.next_if(|(first, _)| *first <= i) {
            boot = next;
        }
        let tick = left.tick(&verdicts, (&mut at, &mut seq), &boot);
        ticks.push(tick.ok_or_else(|| D::Error::custom(format!("tick {i} is not whole")))?);
    }
    Ok(ticks)
}

/// What is left of the columns.
struct Left(Vec<std::vec::IntoIter<Number>>);

impl Left {
    fn is_empty(&self) -> bool {
        self.0.iter().all(|column| column.len() == 0)
    }

    /// The next value of each of some columns.
    fn next<const N: usize>(&mut self, from: usize) -> Option<[Option<f64>; N]> {
        let mut out = [None; N];
        for (i, value) in out.iter_mut().enumerate() {
            *value = self.0.get_mut(from + i)?.next()?.0;
        }
        Some(out)
    }

    fn version(&mut self, from: usize) -> Option<VersionTick> {
        let [n, errors, p99_ms] = self.next(from)?;
        Some(VersionTick { n: n? as u64, errors: errors? as u64, p99_ms, ..VersionTick::default() })
    }

    fn tick(&mut self, verdicts: &[String], (at, seq): (&mut i64, &mut i64), boot: &str) -> Option<Tick> {
        let [since, number, weight, bits, epoch] = self.next(0)?;
        *at = at.saturating_add(since? as i64);
        *seq = seq.saturating_add(number? as i64);
        let bits = bits? as u8;
        let stable = self.version(ALWAYS - 3)?;
        let canary = if bits & CANARY == 0 { None } else { Some(self.version(OF_CANARY)?) };
        let judged = if bits & JUDGED == 0 {
            None
        } else {
            let [joint, abs, rel, p99, from, to, low, high, exposed, verdict] = self.next(OF_JUDGE)?;
            Some(Box::new(Judged {
                joint: joint?,
                abs: abs?,
                rel: rel?,
                p99: p99?,
                ratio: [from, to],
                difference: [low?, high?],
                certificate: None,
                exposed: exposed? as u64,
                verdict: verdicts.get(verdict? as usize)?.clone(),
            }))
        };
        Some(Tick {
            seq: u64::try_from(*seq).ok()?,
            boot: boot.to_owned(),
            at: Timestamp::from_millis(*at),
            weight: Weight::new(weight? as u8).ok()?,
            weight_changed: bits & CHANGED != 0,
            epoch: Epoch(epoch? as u64),
            stable,
            canary,
            canary_last_sent: None,
            sticky: bits & STICKY != 0,
            judged,
            counted: Vec::new(),
        })
    }
}

#[cfg(test)]
#[cfg(feature = "ssr")]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Page {
        #[serde(with = "super")]
        ticks: Vec<Tick>,
    }

    fn ticks() -> Vec<Tick> {
        let second: Tick = serde_json::from_str(crate::gallery::SECOND).unwrap();
        let judged = r#"{"joint":0.5,"abs":-1.25,"rel":0,"p99":0.5,"ratio":[null,1.3],"difference":[-0.01,0.01],"exposed":7,"verdict":"unrefuted"}"#;
        let version = |n, p99_ms| VersionTick { n, errors: n / 9, p99_ms, ..VersionTick::default() };
        (0..6_u64)
            .map(|i| Tick {
                seq: if i < 4 { 10 + i } else { i - 3 },
                boot: if i < 4 { "a" } else { "b" }.to_owned(),
                at: second.at.plus_millis(1_000 * i as i64 + 3),
                weight: Weight::new(i as u8 * 20).unwrap(),
                weight_changed: i == 1,
                epoch: Epoch(i / 2),
                stable: version(200 - i, Some(81.631)),
                canary: (i > 0).then(|| version(i, (i > 1).then_some(84.0))),
                canary_last_sent: None,
                sticky: i == 5,
                judged: (i > 2).then(|| {
                    let verdict = if i > 3 { "certified" } else { "unrefuted" }.to_owned();
                    Box::new(Judged { exposed: i, verdict, ..serde_json::from_str(judged).unwrap() })
                }),
                counted: Vec::new(),
            })
            .collect()
    }

    #[test]
    fn ticks_come_back_as_they_were_in_a_quarter_of_the_room() {
        let page = Page { ticks: ticks() };
        let sent = serde_json::to_string(&page).unwrap();
        assert_eq!(serde_json::from_str::<Page>(&sent).unwrap(), page);
        let long = serde_json::to_string(&page.ticks).unwrap();
        assert!(sent.len() * 4 < long.len(), "{} of {}: {sent}", sent.len(), long.len());
        let none = Page { ticks: Vec::new() };
        assert_eq!(serde_json::from_str::<Page>(&serde_json::to_string(&none).unwrap()).unwrap(), none);
    }

    #[test]
    fn what_is_finer_than_a_drawing_is_rounded() {
        let mut all = ticks();
        all[2].stable.p99_ms = Some(81.631_499);
        let sent = serde_json::to_string(&Page { ticks: all }).unwrap();
        assert!(sent.contains("81.631,") && !sent.contains("81.6314"), "{sent}");
    }

    #[test]
    fn columns_that_are_not_whole_are_refused() {
        for columns in [
            "[[1],[2]]",
            "[[1],[2],[101],[0],[1],[5],[0],[1]]",
            "[[1],[2],[5],[4],[1],[5],[0],[1]]",
            "[[1],[-2],[5],[0],[1],[5],[0],[1]]",
            "[[1],[2],[5],[0],[1],[5],[null],[1]]",
            "[[],[],[],[],[],[],[],[],[1],[2],[3]]",
        ] {
            let page = format!(r#"{{"ticks":{{"boots":[[0,"a"]],"verdicts":[],"columns":{columns}}}}}"#);
            let refused = serde_json::from_str::<Page>(&page).unwrap_err().to_string();
            assert!(refused.contains("tick 0 is not whole"), "{columns}: {refused}");
        }
    }
}
