//! Values of an independent reference, to 1e-9: computed natively by a test, and in the browser's target by the program beside this file.

use std::fmt::Debug;

use judge::sequential::{
    BLOCK_CAP, ConfidenceSequence, EProcess, Grids, SplitCheck, Starts, TwoStreams, block_difference, block_share,
    one_stream, quantile_ranks, rate_ratio, split, together,
};

/// Values that there are: fewer would pass unseen.
pub(crate) const COMPARED: u32 = 33;

/// What agrees and what does not.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    /// Values compared.
    pub(crate) compared: u32,
    /// Those that differ: their number, from 1, and both values.
    pub(crate) wrong: Vec<(u32, String)>,
}

/// Every row.
pub(crate) fn rows() -> Rows {
    let mut rows = Rows::default();
    let parts = [two_streams, means_over_grids, starts, metrics_together, blocks, intervals, split_of_requests];
    parts.into_iter().for_each(|part| part(&mut rows));
    rows
}

impl Rows {
    fn close(&mut self, got: f64, want: f64) {
        self.compared += 1;
        let near = (got - want).abs() < 1e-9 * want.abs().max(1.0);
        if !near {
            self.wrong.push((self.compared, format!("{got} is not {want}")));
        }
    }

    fn same<T: PartialEq + Debug>(&mut self, got: &T, want: &T) {
        self.compared += 1;
        if got != want {
            self.wrong.push((self.compared, format!("{got:?} is not {want:?}")));
        }
    }
}

fn f1(e_c: u64, e_b: u64, n_c: u64, n_b: u64, r: f64, delta: f64, rho: f64) -> f64 {
    TwoStreams::new(n_c, n_b, r, delta, rho).unwrap().ln_e(e_c, e_b)
}

fn two_streams(rows: &mut Rows) {
    rows.close(f1(3, 0, 5, 95, 1.0, 0.0, 2.0), 1.93307104917);
    rows.close(f1(3, 0, 5, 95, 1.0, 0.001, 20.0), 6.93763954176);
    rows.close(f1(0, 4, 500, 500, 1.0, 0.002, 0.5), 1.48417278366);
    rows.close(f1(2, 9, 100, 1900, 1.1, 0.0, 1.6), 0.584616582932);
    rows.same(&TwoStreams::new(0, 5, 1.0, 0.0, 2.0), &None);
    rows.same(&TwoStreams::new(5, 0, 1.0, 0.0, 2.0), &None);
}

fn means_over_grids(rows: &mut Rows) {
    let grids = Grids::default();
    let mut up = EProcess::new(grids.up.len(), Starts::ONE);
    for (e_c, e_b, n_c, n_b) in [(0, 0, 1, 19), (1, 0, 2, 18), (0, 1, 1, 20), (1, 0, 1, 17), (2, 0, 5, 15)] {
        up.tick();
        up.multiply(grids.up.iter().map(|rho| f1(e_c, e_b, n_c, n_b, 1.0, 0.001, *rho)));
    }
    rows.close(up.ln_e(), 4.79049785094);
    let mean = |grid: &[f64], ln_e: &dyn Fn(f64) -> f64| {
        let mut process = EProcess::new(grid.len(), Starts::ONE);
        process.tick();
        process.multiply(grid.iter().map(|x| ln_e(*x)));
        process.ln_e()
    };
    rows.close(mean(&grids.down, &|rho| f1(55, 990, 10_000, 100_000, 1.0, 0.0, rho)), 9.12778576039);
    rows.close(mean(&grids.p_up, &|p| one_stream(4, 100, 0.01, p)), 1.34158510649);
    rows.close(mean(&grids.p_up, &|p| one_stream(3, 30, 0.01, p)), 3.16072819107);
    rows.close(mean(&grids.p_down, &|p| one_stream(1, 1_000, 0.01, p)), 5.75148066868);
}

fn starts(rows: &mut Rows) {
    let mut process = EProcess::new(2, Starts { every: 2, first: 0.4, further: 1 });
    rows.same(&process.ln_e(), &0.0);
    let cumulative = [(0.5, 0.1), (1.0, -0.3), (0.2, 0.8), (1.4, 2.0)];
    let want = [0.140438615776, 0.256052084377, 0.545480487206, 1.74548048721];
    let mut before = (0.0, 0.0);
    for ((a, b), want) in cumulative.into_iter().zip(want) {
        process.tick();
        process.multiply([a - before.0, b - before.1]);
        before = (a, b);
        rows.close(process.ln_e(), want);
    }
}

fn metrics_together(rows: &mut Rows) {
    rows.close(together(&[2.0, 1.0, 4.5], &[0.25, 0.25, 0.5]), 3.86147469941);
}

fn blocks(rows: &mut Rows) {
    let l = Grids::default().l;
    let mut process = EProcess::new(l.len(), Starts::ONE);
    for (e, n) in [(1.0, 12.0), (0.0, 10.0), (2.0, 11.0)] {
        process.tick();
        process.multiply(l.iter().map(|l| block_share(e / n, 0.01, *l)));
    }
    rows.close(process.ln_e(), 2.38734335585);
    let mut process = EProcess::new(l.len(), Starts::ONE);
    for d in [0.03, -0.01, 0.04] {
        process.tick();
        let (c, b) = if d > 0.0 { (d, 0.0) } else { (0.0, -d) };
        process.multiply(l.iter().map(|l| block_difference(c, b, BLOCK_CAP, 0.0, *l)));
    }
    rows.close(process.ln_e(), 0.406120162846);
}

fn intervals(rows: &mut Rows) {
    let cs = ConfidenceSequence::new(7, 500);
    rows.close(cs.ln_m(0.01), -2.97994041185);
    let (low, high) = cs.interval(0.05);
    rows.close(low, 0.00250330544613);
    rows.close(high, 0.041488683081);
    let (low, high) = ConfidenceSequence::new(0, 300).interval(0.01);
    rows.close(low, 0.0);
    rows.close(high, 0.0264111049483);
    rows.same(&quantile_ranks(0.99, 1_000, 0.01), &Some((977, 999)));
    rows.same(&quantile_ranks(0.99, 10_000, 0.01), &Some((9_859, 9_936)));
    let grids = Grids::default();
    let (low, high) = rate_ratio(&[(300, 1_000, 10_000, 100_000)], &grids.up, &grids.down, 0.01);
    rows.close(low.unwrap(), 2.31219621387);
    rows.close(high.unwrap(), 3.84059912029);
    // The header of confseq, compiled, gives the same.
    let other = ConfidenceSequence { a: 0.620028048962817, c: 61.38277684731889, s: 7, n: 500 };
    rows.close(other.ln_m(0.01), -1.04475656298);
}

fn split_of_requests(rows: &mut Rows) {
    rows.close(split([60, 940], [0.05, 0.95]), -0.386552951685);
    rows.close(split([90, 910], [0.05, 0.95]), 11.2286524626);
    let mut check = SplitCheck::default();
    for _ in 0..10 {
        check.push(5, 6, 94);
    }
    rows.close(check.ln_e().unwrap(), -0.386552951685);
    // Another weight begins a span of its own; the spans are added.
    check.push(0, 0, 1_000);
    check.push(5, 90, 910);
    rows.close(check.ln_e().unwrap(), -0.386552951685 + 11.2286524626);
}
