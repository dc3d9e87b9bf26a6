//! Faults that tests switch on, so that the simulation is seen to find each of them. Outside of tests there are none.

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
thread_local! {
    static FAULT: std::cell::Cell<Option<Fault>> = const { std::cell::Cell::new(None) };
}

/// Switches a fault on (or all off) for this thread.
#[cfg(test)]
pub(crate) fn set(fault: Option<Fault>) {
    FAULT.set(fault);
}

/// True when the fault is switched on.
#[cfg(test)]
pub(crate) fn is(fault: Fault) -> bool {
    FAULT.get() == Some(fault)
}

/// Never.
#[cfg(not(test))]
pub(crate) fn is(_: Fault) -> bool {
    false
}
