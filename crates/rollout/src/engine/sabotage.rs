//! Faults that tests switch on, so that the simulation is seen to find each of them. Compiled into tests only.

/// A way to break an invariant on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Promotes without the judge's word and without ending the analysis.
    PromoteUnjudged,
    /// 100 % without an armed envelope.
    FullWithoutEnvelope,
    /// Goes on after an abort instead of going to 0 %.
    IgnoreAbort,
    /// Sets one per cent too much.
    Overshoot,
    /// Skips a pause step.
    SkipStep,
    /// Operation ids that change with every plan.
    FreshOperationIds,
}

#[cfg(test)]
mod switch {
    use std::cell::Cell;

    use super::Fault;

    thread_local! {
        static FAULT: Cell<Option<Fault>> = const { Cell::new(None) };
    }

    /// Switches a fault on (or all off) for this thread.
    pub(crate) fn set(fault: Option<Fault>) {
        FAULT.set(fault);
    }

    /// True when the fault is switched on.
    pub(crate) fn is(fault: Fault) -> bool {
        FAULT.get() == Some(fault)
    }
}

#[cfg(not(test))]
mod switch {
    /// Never.
    pub(crate) fn is(_: super::Fault) -> bool {
        false
    }
}

#[cfg(test)]
pub(crate) use switch::set;
pub(crate) use switch::is;
